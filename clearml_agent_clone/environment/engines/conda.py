"""The engine for conda packages: solves and links them, then has pip's engine install what is left."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs

from clearml_agent_clone.environment.conda.activation import state, variables_of
from clearml_agent_clone.environment.conda.outcome import Outcome
from clearml_agent_clone.environment.conda.programs import Tool, find_tool
from clearml_agent_clone.environment.conda.secrets import shown, without
from clearml_agent_clone.environment.conda.specs import Spec
from clearml_agent_clone.environment.conda.tools import Attempt
from clearml_agent_clone.environment.conda.unpacked import unpack
from clearml_agent_clone.environment.conda.wish import Wish
from clearml_agent_clone.environment.engines import EngineUnavailable, Work
from clearml_agent_clone.environment.engines.uv import UvEngine
from clearml_agent_clone.environment.model import Mode
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError

Pip = Callable[[Work, Path], None]
"""Installs the requirement lines of a plan for an interpreter."""

_MOST_ATTEMPTS = 40


@attrs.frozen
class CondaEngine:
    """micromamba, mamba, conda or py-rattler, whichever is there.

    Args:
        pip: what installs requirement lines.
    """

    pip: Pip
    name: str = "conda"

    def create(self, work: Work) -> None:
        """Nothing: Python is one of the packages."""

    def install(self, work: Work, python: Path) -> None:
        assert work.plan.project is not None  # plans for this engine have one
        wish = Wish.from_text(work.plan.project.text)
        prefix = python.parent.parent
        lines = list(work.plan.lines)
        if wish.archive:
            unpack(Path(wish.archive), prefix, work)
        elif wish.specs:
            tool = find_tool(work.settings.environ)
            search = _Search(tool, wish, prefix, work, lines)
            search.run()
            _hide_secrets(prefix, wish.channels)
            state(prefix, wish.variables)
            self._then_pip(work, python, wish, lines)
        work.told.update(variables_of(prefix, work))

    def _then_pip(self, work: Work, python: Path, wish: Wish, lines: list[str]) -> None:
        if not python.exists():
            raise UserError(
                f"the conda environment has no Python: there is no {python}",
                remedy="Add python to its packages",
                code="packages-failed",
            )
        pins = [*work.plan.pins, *(line for line in lines if line not in work.plan.lines and "==" in line)]
        plan = attrs.evolve(work.plan, lines=tuple(lines), pins=tuple(pins), engine=wish.pip, project=None)
        below = attrs.evolve(work, plan=plan)
        _seed(below, python)
        self.pip(below, python)


def _seed(work: Work, python: Path) -> None:
    """Put in pip where no package brought it, because user code calls it, as conda itself does."""
    sites = list(python.parent.parent.glob("lib/python*/site-packages"))
    program = find_uv(work.settings.environ)
    if program and not any((site / "pip").is_dir() for site in sites):
        minor = next((site.parent.name.removeprefix("python") for site in sites), "")
        minor = minor or next(file.name for file in (python.parent.parent / "lib").glob("python*.*")).removeprefix(
            "python"
        )
        with contextlib.suppress(EngineUnavailable):  # a Python that virtualenv has no pip for gets none
            UvEngine(program).seed(work, python, minor)


@attrs.define
class _Search:
    """Tries what was asked for, then what is nearest to it where that may be, and says so."""

    tool: Tool
    wish: Wish
    prefix: Path
    work: Work
    lines: list[str]
    _specs: dict[str, Spec] = attrs.Factory(dict)

    def run(self) -> None:
        """Have the packages in the prefix.

        Raises:
            UserError: code ``packages-failed``; they cannot be had, and why.
        """
        self._specs = {spec.name: spec for spec in self.wish.specs}
        update = self.work.plan.mode is Mode.EXISTING
        for _ in range(_MOST_ATTEMPTS):
            attempt = Attempt(self.tool, self.wish.channels, list(self._specs.values()), self.prefix, update)
            outcome = attempt.run(self.work)
            if outcome.note:
                self.work.console.say(outcome.note)
            if outcome.ok:
                return
            if not update:
                shutil.rmtree(self.prefix, ignore_errors=True)
            if outcome.error is not None:
                raise outcome.error
            self._change(outcome)
        raise self._error(f"conda packages were not found in {_MOST_ATTEMPTS} attempts")

    def _change(self, outcome: Outcome) -> None:
        absent = [name for name in outcome.absent if name in self._specs]
        unmatched = [name for name in outcome.unmatched if name in self._specs]
        for name in absent:
            self._without(name)
        for name in unmatched:
            self._other(name, outcome.unmatched[name])
        if not (absent or unmatched) and not self._loosen_all() and not self._all_to_pip():
            raise self._error(f"the conda packages do not go together: {shown(outcome.reason)}")

    def _without(self, name: str) -> None:
        """``name`` is in no channel."""
        spec = self._specs.pop(name)
        dashed = name.replace("_", "-")
        if not self.wish.rigid and dashed != name and dashed not in self._specs:
            self._say(f"{name}: called {dashed} in conda?")
            self._specs[dashed] = attrs.evolve(spec, name=dashed)
        elif not self._to_pip(spec, "no channel has it"):
            raise self._error(f'package "{spec.text}" is in none of the channels {self._places}')

    def _other(self, name: str, there: str) -> None:
        """``name`` is in a channel, but not as it was asked for."""
        spec = self._specs[name]
        looser = None if self.wish.rigid else spec.looser()
        have = f"; there is {there}" if there else ""
        if looser is not None:
            self._say(f"{spec.text}: not in the channels{have}; trying {looser.text}")
            self._specs[name] = looser
            return
        del self._specs[name]
        if not self._to_pip(spec, f"no channel has this version{have}"):
            raise self._error(f'package "{spec.text}" is not in the channels {self._places} as it is asked for{have}')

    def _to_pip(self, spec: Spec, why: str) -> bool:
        if spec.optional:
            self._say(f"{spec.name}: left out, {why}")
            return True
        if not spec.pip:
            return False
        self._say(f"{spec.pip}: installed by pip, {why}")
        self.lines.append(spec.pip)
        return True

    def _loosen_all(self) -> bool:
        if self.wish.rigid:
            return False
        looser = {name: found for name, spec in self._specs.items() if (found := spec.looser()) is not None}
        builds = {name: found for name, found in looser.items() if self._specs[name].build}
        if looser:
            what = "their builds are left open" if builds else "other patch versions will do"
            self._say(f"the {len(self._specs)} packages as recorded do not go together in these channels: {what}")
            self._specs.update(builds or looser)
        return bool(looser)

    def _all_to_pip(self) -> bool:
        """Requirements of pip that conda cannot put together: pip installs them as they were recorded."""
        others = [spec for spec in self._specs.values() if spec.name != "python"]
        if self.wish.rigid or not any(spec.pip for spec in others) or any(not spec.pip for spec in others):
            return False
        self._say("what conda has of these packages does not go together")
        for spec in others:
            del self._specs[spec.name]
            self._to_pip(spec, "with all the others")
        return True

    @property
    def _places(self) -> str:
        return shown(", ".join(self.wish.channels)) or "(none is configured)"

    def _say(self, text: str) -> None:
        self.work.console.say(f"conda: {shown(text)}")

    def _error(self, message: str) -> UserError:
        remedy = (
            "Correct environment.yml, or add the channel that has what it names"
            if self.wish.rigid
            else "Name a channel that has it (agent.package_manager.conda_channels), or change the recorded packages"
        )
        return UserError(message, remedy=remedy, code="packages-failed")


def _hide_secrets(prefix: Path, channels: tuple[str, ...]) -> None:
    """Take passwords and tokens of channels out of what the environment says about its packages."""
    secret = {url: plain for url in channels if (plain := without(url)) != url}
    if not secret:
        return
    for file in (prefix / "conda-meta").glob("*.json"):
        text = file.read_text(encoding="utf-8")
        plain = text
        for url, safe in secret.items():
            plain = plain.replace(url, safe)
        if plain != text:
            file.unlink()  # it may share its content with another environment
            file.write_text(plain, encoding="utf-8")
