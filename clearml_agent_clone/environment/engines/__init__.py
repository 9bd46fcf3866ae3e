"""What makes an environment and installs into it: one module per engine behind ``Engine``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs

from clearml_agent_clone.environment.model import EnvironmentPlan, Interpreter
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.util.process import Cancel, Console, Finished, run


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
        told: gets the variables that the user's process needs, where they are other than ``VIRTUAL_ENV``.
    """

    plan: EnvironmentPlan
    made_with: Interpreter | None
    folder: Path
    scratch: Path
    console: Console
    cancel: Cancel | None
    seconds: dict[str, float]
    told: dict[str, str] = attrs.Factory(dict)

    @property
    def interpreter(self) -> Interpreter:
        """What the environment is made with, for engines that do not bring one."""
        assert self.made_with is not None  # only engines that bring one get a plan without
        return self.made_with

    @property
    def settings(self) -> EnvironmentSettings:
        return self.plan.settings

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str], **how: Any) -> Finished:
        """Run an installing program as ``util.process.run`` does, where the environment is made; it ends with the task."""
        place = self.settings.place
        if place is None:
            return run(argv, env=env, cancel=self.cancel, **how)
        return place.run(self, argv, env, **how)

    def variables(self, more: Mapping[str, str]) -> dict[str, str]:
        """The environment of an installing program: ours without what would lead it to other environments."""
        kept = {name: value for name, value in self.settings.environ.items() if name not in _MISLEADING}
        return {**kept, **self.settings.variables, **more}


class Place(Protocol):
    """Where installing programs run when that is not this machine as it is: in a container."""

    def run(self, work: Work, argv: Sequence[str | os.PathLike[str]], env: Mapping[str, str], **how: Any) -> Finished:
        """As ``util.process.run``, to which ``how`` belongs."""

    def engines(self, work: Work) -> Sequence[Engine]:
        """What makes ``work`` there, the best first."""


_TELLING = re.compile(
    rb"^\s*(?:error:|ERROR:|cause:|Caused by:|\xc3\x97 |\xe2\x95\xb0)|Failed (?:to )?build", re.MULTILINE
)
_MOST = 200


@attrs.define
class Witness:
    """A console that remembers the lines that name causes: a build may print more after them than is kept."""

    console: Console
    heard: list[bytes] = attrs.Factory(list)
    _rest: bytes = b""

    def say(self, text: str) -> None:
        self.console.say(text)

    def write(self, data: bytes) -> None:
        self.console.write(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.heard += [line for line in lines if len(self.heard) < _MOST and _TELLING.search(line)]

    def testimony(self, output: str) -> str:
        """``output``, with what was said before it and is not in it in front."""
        before = (line.decode(errors="replace") for line in self.heard)
        return "\n".join([*(line for line in before if line not in output), output])


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
