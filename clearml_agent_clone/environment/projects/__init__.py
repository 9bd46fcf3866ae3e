"""Projects that say themselves what they need: poetry, uv and ``pylock.toml``."""

from __future__ import annotations

from clearml_agent_clone.environment.model import Declined, EnvironmentPlan, EnvironmentRequest
from clearml_agent_clone.environment.settings import EnvironmentSettings


def plan_project(_request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan | Declined:
    """The plan for the project files in the checkout, or why there is none."""
    return Declined(f'agent.package_manager.type "{settings.manager}": packages are installed as for "pip"')
