"""No key of ``agent.package_manager`` is read and forgotten: it changes how environments are made, or the docs say why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.config import settings as config
from clearml_agent_clone.config.settings_packages import PackageManagerSettings
from clearml_agent_clone.environment import EnvironmentSettings

WITHOUT_EFFECT = {"uv_replace_pip"}
_DOCS = Path(__file__).parents[3] / "docs" / "environments.md"
_CHOICES = {"type": "conda", "pytorch_resolve": "none", "pip_engine": "pip"}
_KEYS = sorted(field.name for field in attrs.fields(PackageManagerSettings))


def other(name: str, value: Any) -> Any:
    """A value that is not the default one."""
    if name in _CHOICES:
        return _CHOICES[name]
    if isinstance(value, bool):
        return not value
    return ("some==9.9",) if isinstance(value, tuple) else "https://h/{}"


@pytest.mark.parametrize("name", _KEYS)
def test_a_key_has_an_effect(name: str, tmp_path: Path) -> None:
    whole = config.Settings(state_dir=tmp_path)
    manager = whole.agent.package_manager
    changed = attrs.evolve(manager, **{name: other(name, getattr(manager, name))})
    agent = attrs.evolve(whole.agent, package_manager=changed)
    before = EnvironmentSettings.from_settings(whole, {})
    after = EnvironmentSettings.from_settings(attrs.evolve(whole, agent=agent), {})
    assert (attrs.asdict(after) == attrs.asdict(before)) == (name in WITHOUT_EFFECT)


@pytest.mark.parametrize("name", _KEYS)
def test_a_key_is_documented(name: str) -> None:
    assert f"`{name}`" in _DOCS.read_text()
