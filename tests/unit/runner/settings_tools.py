"""The agent's settings with some of them changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from clearml_agent_clone.config import load_settings
from clearml_agent_clone.config.settings_agent import AgentSettings


def agent_settings(changes: Mapping[str, Any]) -> AgentSettings:
    """What a clearml.conf with these keys in its agent section gives."""
    with TemporaryDirectory() as folder:
        conf = Path(folder, "clearml.conf")
        conf.write_text("".join(f"agent.{name}: {value}\n" for name, value in changes.items()))
        return load_settings(conf, {"HOME": folder, "CLEARML_AGENT_STATE_DIR": folder}).settings.agent
