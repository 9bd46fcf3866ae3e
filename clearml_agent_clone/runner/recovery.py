"""A run whose runner died, in the hands of its successor: nothing is run again, nothing is left running unwatched."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import attrs

from clearml_agent_clone.launch import local
from clearml_agent_clone.launch.ending import describe
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.launch.running import Running
from clearml_agent_clone.runner.job import Job
from clearml_agent_clone.runner.journal import State
from clearml_agent_clone.runner.outcome import Cause, Outcome
from clearml_agent_clone.runner.user_code import UserCode
from clearml_agent_clone.util.boot import boot_id

log = logging.getLogger(__name__)


@attrs.frozen
class Recovery:
    """What a successor does with what it finds.

    Args:
        job: the run.
        place: what the launch has written down.
        predecessor: the runner that died, if it is known who it was.
        adopt: ``agent.on_runner_loss``: watch a process that still runs, or end it.
        watch: begins the loops that go with a running process.
        user_code: makes the watcher of a process.
        boot: this start of the machine.
        find, clear: see ``launch.local``; of containers, ``containers.life.ContainerSite``.
    """

    job: Job
    place: Place
    predecessor: ProcessId | None
    adopt: bool
    watch: Callable[[Running], None]
    user_code: Callable[[Running], UserCode]
    boot: str = attrs.Factory(boot_id)
    find: Callable[[], Running | None] = attrs.Factory(lambda self: partial(local.find, self.place), takes_self=True)
    clear: Callable[[], list[int]] = attrs.Factory(lambda self: partial(local.clear, self.place), takes_self=True)

    def run(self, found: State) -> Outcome:
        """Bring a run that was found in state ``found`` to its end."""
        if self._machine_was_restarted():
            self._clear()
            return Outcome(Cause.NODE_LOST, None, f"the machine was restarted while the task was {found.value}")
        lost = Outcome(Cause.RUNNER_LOST, None, f"the agent's runner died while the task was {found.value}")
        running = self.find() if found is State.RUNNING else None
        if running is None:
            self._clear()
            return lost
        code = self.user_code(running)
        if running.ended(0):
            log.warning("the runner died and the task's process ended meanwhile")
            return code.watch()
        if not self.adopt:
            return code.finish(lost)
        log.warning("the runner died; process %d goes on and is watched by this one", running.main.pid)
        self.watch(running)
        return code.watch()

    def _clear(self) -> None:
        left = self.clear()
        if left:
            log.error("processes did not end even when killed: %s", describe(left))

    def _machine_was_restarted(self) -> bool:
        """By the latest thing that is known to have happened to the run."""
        processes = (self.place.user(), self.predecessor)
        boots = [process.boot for process in processes if process is not None] + [self.job.boot]
        latest = next((boot for boot in boots if boot), self.boot)
        return latest != self.boot
