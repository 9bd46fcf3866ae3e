"""Everything that is configured, as one frozen value."""

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.config.settings_agent import AgentSettings
from clearml_agent_clone.config.settings_api import ApiSettings


def _default_state_dir() -> Path:
    return Path.home() / ".clearml" / "agent"


@attrs.frozen
class Settings:
    """The effective configuration.

    Args:
        api: server, credentials, HTTP.
        agent: the worker's behaviour.
        state_dir: where journals, runs and caches of the agent itself are; CLEARML_AGENT_STATE_DIR, else the key
            ``agent.state_dir``.
        config_files: the files that were read, lowest layer first.
    """

    api: ApiSettings = attrs.Factory(ApiSettings)
    agent: AgentSettings = attrs.Factory(AgentSettings)
    state_dir: Path = attrs.Factory(_default_state_dir)
    config_files: tuple[Path, ...] = ()
