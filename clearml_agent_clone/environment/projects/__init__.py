"""Projects that say themselves what they need: poetry, uv and ``pylock.toml``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearml_agent_clone.environment.model import Declined, EnvironmentPlan, EnvironmentRequest, EnvironmentResult
    from clearml_agent_clone.environment.settings import EnvironmentSettings
    from clearml_agent_clone.util.process import Cancel, Console


def plan_project(request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan | Declined:
    """The plan for the project files in the checkout, or why there is none.

    Raises:
        UserError: the interpreter that the task asks for is not there, or not what the project is made for; a project
            file is broken.
    """
    from clearml_agent_clone.environment.projects import planning  # noqa: PLC0415 - the settings import this package

    return planning.plan_project(request, settings)


def add_checkout(
    plan: EnvironmentPlan, result: EnvironmentResult, console: Console, cancel: Cancel | None
) -> EnvironmentResult:
    """``result`` with what the project has in this task's checkout: the project itself, path dependencies, variables.

    Raises:
        UserError: a package of the checkout cannot be built.
    """
    from clearml_agent_clone.environment.projects import layer  # noqa: PLC0415 - the settings import this package

    return layer.add_checkout(plan, result, console, cancel)
