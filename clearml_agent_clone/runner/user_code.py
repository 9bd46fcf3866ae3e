"""The user's process: wait for it, end it in stages when somebody asks. Whether we started it does not matter."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import attrs

from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.launch.ending import describe
from clearml_agent_clone.launch.running import Manner, Running
from clearml_agent_clone.logs import Spool
from clearml_agent_clone.runner.outcome import Cause, Outcome
from clearml_agent_clone.runner.stop import StopRequest, StopSignal
from clearml_agent_clone.runner.watch import SeenTask

log = logging.getLogger(__name__)

_CALLBACK_LOOK = 1.0
_CALLBACK_STEP = 0.1


@attrs.frozen
class UserCode:
    """Sees the process of one task to its end.

    Args:
        running: the process.
        spool: takes our own lines.
        stop: ends it.
        manner: how it is ended.
        look: the task as the server has it, for the abort callback.
        announce: tells the console, at level ERROR, that the task is being stopped.
        note: writes down that it is, so that whoever comes after us does not take our signal for the task's own end.
    """

    running: Running
    spool: Spool
    stop: StopSignal
    manner: Manner
    look: Callable[[], SeenTask | None]
    announce: Callable[[str], None]
    note: Callable[[StopRequest], object] = attrs.field(default=lambda _: None)

    def watch(self) -> Outcome:
        """Wait for the end; nothing of the task is left running."""
        outcome = self._exited() if self.running.ended(wake=self.stop.wake) else self._end()
        self.running.settle()
        return outcome

    def finish(self, outcome: Outcome) -> Outcome:
        """End it now, for the reason that ``outcome`` gives."""
        self._tell(self.running.stop(self.manner, self.stop.hurried))
        self.running.settle()
        return outcome

    def _exited(self) -> Outcome:
        code = self.running.exit_code()
        self._tell(self.running.sweep())
        if code is None:
            return Outcome(Cause.RUNNER_LOST, None, "nobody was left who could know how the task's process ended")
        return Outcome(Cause.EXIT, code, self.running.why())

    def _end(self) -> Outcome:
        request = self.stop.request
        assert request is not None, "the wait ends early only for a request"
        self.note(request)
        if request.announced:
            self.announce(request.announced)
        if request.callback_seconds:
            self._await_callback(request.callback_seconds)
        self._tell(self.running.stop(self.manner, self.stop.hurried))
        return self.stop.outcome(self.running.exit_code() if self.running.ended(0) else None)

    def _await_callback(self, seconds: float) -> None:
        """Let the abort callback that the task registered finish before anything is signalled."""
        say = self.spool.say
        say(f"### Task abort callback timeout set, waiting for max {seconds:.0f} sec ###")
        begin = time.monotonic()
        next_look = begin + _CALLBACK_LOOK
        while (elapsed := time.monotonic() - begin) < seconds and not self.stop.hurried():
            ended = self.running.ended(_CALLBACK_STEP)
            if ended or (time.monotonic() > next_look and self._callback_done()):
                say(f"### Task abort callback completed in {time.monotonic() - begin:.1f} seconds ###")
                return
            if time.monotonic() > next_look:
                next_look = time.monotonic() + _CALLBACK_LOOK
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
            named = describe(survivors)
            log.error("processes did not end even when killed: %s", named)
            self.spool.say(f"clearml_agent: WARNING: processes did not end even when killed: {named}")
