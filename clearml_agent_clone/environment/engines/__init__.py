"""What makes an environment and installs into it: one module per engine behind ``Engine``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import attrs

from clearml_agent_clone.environment.model import EnvironmentPlan, Interpreter
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.util.process import Cancel, Console


class EngineUnavailable(AgentError):  # noqa: N818 - named by what to do with it: take another engine
    """The engine cannot do its work here; another one may."""

    default_code = "engine-unavailable"


@attrs.frozen
class Work:
    """One environment to make.

    Args:
        plan: what to install.
        interpreter: what to make it with.
        folder: where; it does not exist yet.
        scratch: a private folder for files that are needed on the way.
        seconds: gets how long each step took.
    """

    plan: EnvironmentPlan
    interpreter: Interpreter
    folder: Path
    scratch: Path
    console: Console
    cancel: Cancel | None
    seconds: dict[str, float]

    @property
    def settings(self) -> EnvironmentSettings:
        return self.plan.settings

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of an installing program: ours without what would lead it to other environments."""
        kept = {name: value for name, value in self.settings.environ.items() if name not in _MISLEADING}
        return {**kept, **self.settings.variables, **more}


class Engine(Protocol):
    """Makes environments. Both methods raise ``EngineUnavailable`` when another engine should be tried."""

    @property
    def name(self) -> str:
        """For the console."""

    def create(self, work: Work) -> None:
        """Make the environment at ``work.folder``, with nothing in it but pip."""

    def install(self, work: Work, python: Path) -> None:
        """Install the plan's requirements for ``python``.

        Raises:
            UserError: code ``packages-failed``; they cannot be installed, and why.
        """


_MISLEADING = frozenset(
    {
        "PYTHONPATH",
        "PYTHONHOME",
        "PYTHONSTARTUP",
        "VIRTUAL_ENV",
        "CONDA_PREFIX",
        "UV_PYTHON",
        "UV_SYSTEM_PYTHON",
        "UV_PROJECT_ENVIRONMENT",
        "UV_PROJECT",
        "UV_WORKING_DIRECTORY",
        "UV_TARGET",
        "UV_PREFIX",
    }
)
