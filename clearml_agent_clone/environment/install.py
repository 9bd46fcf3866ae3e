"""Run the engines: the one that was planned, then the other one where that may help."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from clearml_agent_clone.environment.engines import Engine, EngineUnavailable, Work
from clearml_agent_clone.environment.engines.pip import PipEngine
from clearml_agent_clone.environment.engines.projects import PROJECT_ENGINES, project_engine
from clearml_agent_clone.environment.engines.uv import UvEngine
from clearml_agent_clone.environment.model import Project
from clearml_agent_clone.environment.uv_choice import uv_program
from clearml_agent_clone.errors import UserError


def make_environment(work: Work) -> str:
    """Make the environment at ``work.folder`` with everything in it; returns the name of the engine that did.

    Raises:
        UserError: code ``packages-failed``.
    """

    def attempt(engine: Engine) -> None:
        shutil.rmtree(work.folder, ignore_errors=True)
        start = time.monotonic()
        engine.create(work)
        work.seconds["create"] = time.monotonic() - start
        _install(engine, work, work.python)

    return _first_that_works(_engines(work), work, attempt)


def install_packages(work: Work) -> str:
    """Install the packages into the interpreter itself; returns the name of the engine that did.

    Raises:
        UserError: code ``packages-failed``.
    """
    return _first_that_works(_engines(work), work, lambda engine: _install(engine, work, work.interpreter.path))


def _install(engine: Engine, work: Work, python: Path) -> None:
    number = len(work.plan.lines)
    if work.plan.project is not None:
        work.console.say(f"Installing what {_names(work.plan.project)} says with {engine.name}")
    elif number:
        work.console.say(f"Installing {number} requirement{'' if number == 1 else 's'} with {engine.name}")
    else:
        return
    start = time.monotonic()
    engine.install(work, python)
    work.seconds["install"] = time.monotonic() - start


def _first_that_works(engines: Sequence[Engine], work: Work, attempt: Callable[[Engine], None]) -> str:
    engine, *others = engines
    try:
        attempt(engine)
    except EngineUnavailable as error:
        if not others:
            raise UserError(error.message, remedy=error.remedy, code="packages-failed") from error
        work.console.say(f"{error.message}. Trying {others[0].name}")
        return _first_that_works(others, work, attempt)
    return engine.name


def _lines(work: Work, python: Path) -> None:
    """Have the requirement lines of ``work.plan`` installed for ``python``."""
    _first_that_works(_engines(work), work, lambda engine: _install(engine, work, python))


def _names(project: Project) -> str:
    return project.files[0].name if project.files else "the task"


def _engines(work: Work) -> Sequence[Engine]:
    if work.settings.place is not None:
        return work.settings.place.engines(work)
    if work.plan.engine == "conda":
        from clearml_agent_clone.environment.engines.conda import CondaEngine  # noqa: PLC0415 - by configuration only

        return [CondaEngine(_lines)]
    if work.plan.engine == "pip":
        return [PipEngine(uv_program(work))]
    if work.plan.project is not None and work.plan.engine in PROJECT_ENGINES:
        return [project_engine(work, uv_program(work))]
    program = uv_program(work)
    if not program:
        work.console.say("uv is not installed. Trying pip")
        return [PipEngine()]
    return [UvEngine(program), PipEngine(program)]
