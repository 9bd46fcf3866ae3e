"""Environments of conda packages.

``planning`` decides, ``lists`` reads what is asked for, ``tools`` runs what installs it, ``activation`` says what the
user's process needs. Nothing of it is imported before a task needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearml_agent_clone.environment.model import EnvironmentPlan, EnvironmentRequest
    from clearml_agent_clone.environment.settings import EnvironmentSettings


def plan_conda(request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan:
    """The plan for the task's conda packages.

    Raises:
        UserError: ``conda-missing``, ``packages-failed`` or ``python-missing``; it cannot be made on this machine.
    """
    from clearml_agent_clone.environment.conda.planning import plan  # noqa: PLC0415 - by configuration only

    return plan(request, settings)
