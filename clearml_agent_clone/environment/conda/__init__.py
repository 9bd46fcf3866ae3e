"""Environments of conda packages.

``planning`` decides, ``lists`` reads what is asked for, ``tools`` runs what installs it, ``activation`` says what the
user's process needs. Nothing of it is imported before a task needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from clearml_agent_clone.environment.model import EnvironmentPlan, EnvironmentRequest, EnvironmentResult
    from clearml_agent_clone.environment.settings import EnvironmentSettings


def plan_conda(request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan:
    """The plan for the task's conda packages.

    Raises:
        UserError: ``conda-missing``, ``packages-failed`` or ``python-missing``; it cannot be made on this machine.
    """
    from clearml_agent_clone.environment.conda.planning import plan  # noqa: PLC0415 - by configuration only

    return plan(request, settings)


def finish_conda(plan: EnvironmentPlan, result: EnvironmentResult) -> EnvironmentResult:
    """``result`` with the variables as they are for this task, and with what is to be recorded about the packages."""
    from clearml_agent_clone.environment.conda.activation import fill  # noqa: PLC0415 - see above

    settings = plan.settings
    result = attrs.evolve(result, installed=(), variables=fill(result.variables, settings.environ))
    if not settings.conda.full_update or result.bin_dir is None:
        return result
    from clearml_agent_clone.environment.conda.content import exported  # noqa: PLC0415 - rare

    return attrs.evolve(result, whole=exported(result.bin_dir.parent, plan.root))
