"""The user's process: start it, wait for it, end it in stages when somebody asks."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import attrs

from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.launch import local
from clearml_agent_clone.launch.plan import LaunchPlan
from clearml_agent_clone.logs import Spool
from clearml_agent_clone.runner.outcome import Cause, Outcome
from clearml_agent_clone.runner.stop import StopSignal
from clearml_agent_clone.runner.watch import SeenTask

log = logging.getLogger(__name__)

_CALLBACK_LOOK = 1.0


@attrs.frozen
class UserCode:
    """Runs the process of one task.

    Args:
        plan: what to start.
        spool: takes its output.
        stop: ends it.
        grace: seconds between the first signal and SIGKILL.
        look: the task as the server has it, for the abort callback.
        announce: tells the console, at level ERROR, that the task is being stopped.
        started: called with the pid as soon as there is one.
        held: descriptors that the process keeps open, so that its environment is in use even when the runner dies.
    """

    plan: LaunchPlan
    spool: Spool
    stop: StopSignal
    grace: float
    look: Callable[[], SeenTask | None]
    announce: Callable[[str], None]
    started: Callable[[int], None]
    held: tuple[int, ...] = ()

    def run(self) -> Outcome:
        """Run to the end; nothing of the task is left running."""
        running = local.start(self.plan, self.spool.fd, self.held)
        self.started(running.child.pid)
        code = running.wait(wake=self.stop.wake)
        if code is None:
            return self._end(running)
        self._tell(running.sweep())
        return Outcome(Cause.EXIT, code)

    def _end(self, running: local.Running) -> Outcome:
        request = self.stop.request
        assert request is not None, "the wait ends early only for a request"
        if request.announced:
            self.announce(request.announced)
        if request.callback_seconds:
            self._await_callback(running, request.callback_seconds)
        self._tell(running.stop(self.grace))
        return self.stop.outcome(running.child.poll())

    def _await_callback(self, running: local.Running, seconds: float) -> None:
        """Let the abort callback that the task registered finish before anything is signalled."""
        say = self.spool.say
        say(f"### Task abort callback timeout set, waiting for max {seconds:.0f} sec ###")
        begin = time.monotonic()
        while (elapsed := time.monotonic() - begin) < seconds:
            if running.wait(_CALLBACK_LOOK) is not None or self._callback_done():
                say(f"### Task abort callback completed in {time.monotonic() - begin:.1f} seconds ###")
                return
        say(f"### Task abort callback timed out [timeout: {seconds:.0f}, elapsed: {elapsed:.0f}] ###")

    def _callback_done(self) -> bool:
        try:
            seen = self.look()
        except AgentError as error:
            log.warning("abort callback: %s", error)
            return False
        return seen is None or bool(seen.runtime.get("_abort_callback_completed"))

    def _tell(self, survivors: list[int]) -> None:
        if survivors:
            self.spool.say(f"clearml_agent: WARNING: processes {survivors} did not end even when killed")
