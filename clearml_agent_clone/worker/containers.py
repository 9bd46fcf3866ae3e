"""Containers that nobody is responsible for any more: found by their labels when a daemon starts, and removed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import slug

if TYPE_CHECKING:
    from clearml_agent_clone.containers.engine import CliEngine, ContainerEngine

log = logging.getLogger(__name__)


def clear(job: Job, place: Place) -> list[int]:
    """End and remove the container of a run, and all else that is left of it; see ``launch.local.clear``."""
    from clearml_agent_clone.containers.life import site_of  # noqa: PLC0415 - most daemons have no containers

    return site_of(job.engine, place).clear()


def reap_in_background(engine: str, runs: Path) -> None:
    """Remove what is left of runs of this agent's state folder, without holding up the daemon's start."""

    def reap() -> None:
        try:
            for container in reap_stale(_engine(engine), runs):
                log.info("removed container %s, whose run is over", container[:12])
        except AgentError as error:
            log.warning("containers of earlier runs were not looked for: %s", error)

    threading.Thread(target=reap, name="containers", daemon=True).start()


def reap_stale(engine: ContainerEngine, runs: Path) -> tuple[str, ...]:
    """Remove the containers of runs that ended, or whose folder is gone; returns their ids.

    Only those that were made from this state folder: an engine may serve several agents, and several machines.

    Raises:
        Retryable: the engine does not answer.
    """
    from clearml_agent_clone.containers.life import home_mark  # noqa: PLC0415 - as below
    from clearml_agent_clone.containers.names import HOME_LABEL, RUN_LABEL  # noqa: PLC0415

    removed = []
    for container in engine.labelled({HOME_LABEL: home_mark(runs.parent)}):
        state = engine.inspect(container)
        run_id = "" if state is None else state.labels.get(RUN_LABEL, "")
        if state is None or not run_id or _is_wanted(RunFolder(runs / slug(run_id))):
            continue
        engine.remove(container)
        removed.append(container)
    return tuple(removed)


def _is_wanted(folder: RunFolder) -> bool:
    """Whether somebody sees to the run, or will: a folder that is being made is held from its first moment on."""
    return folder.path.is_dir() and (folder.held or Journal.open(folder.state_file).state is not State.DONE)


def _engine(name: str) -> CliEngine:
    from clearml_agent_clone.containers.engine import CliEngine  # noqa: PLC0415 - most daemons have no containers
    from clearml_agent_clone.containers.options import Engine  # noqa: PLC0415

    return CliEngine(Engine(name))
