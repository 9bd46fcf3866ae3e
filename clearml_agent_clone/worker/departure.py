"""How a daemon ends: who asked for it, which runners have been told, and what to say at the end."""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.runner.job import RECORD_FORMAT
from clearml_agent_clone.runner.journal import State
from clearml_agent_clone.util.files import read_json, write_json
from clearml_agent_clone.worker.registry import Registration
from clearml_agent_clone.worker.runners import SIGNALS, ActiveRun
from clearml_agent_clone.worker.stopmode import StopMode

log = logging.getLogger(__name__)

DELIVERY_PATIENCE = 20.0
"""Seconds for which a stopping daemon waits for runners whose task has ended and which still deliver console and status.
They need no daemon for that, and with the server away it could take for ever."""

_ANNOUNCED = {
    StopMode.DRAIN: "draining: no task is taken any more, %d running are finished first (a second SIGTERM stops them)",
    StopMode.STOP: "stopping: %d running tasks are ended (SIGINT, or --stop --now, ends them at once)",
    StopMode.NOW: "stopping at once: %d running tasks are killed",
}
_STILL = "still delivering its console and its status"


class Departure:
    """Turns signals into a mode, and the mode into signals for the runners.

    Args:
        registration: where ``--stop`` leaves what it wants, and where the farewell goes.
        wake: makes the daemon look. Safe in a signal handler.
        clock: monotonic seconds.
    """

    def __init__(
        self, registration: Registration, wake: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.mode: StopMode | None = None
        self._registration = registration
        self._wake = wake
        self._clock = clock
        self._announced: StopMode | None = None
        self._obeyed: object = None
        self._told: set[tuple[str, int, StopMode]] = set()
        self._finishing: dict[str, float] = {}
        self._fates: list[dict[str, Any]] = []

    def ask(self, mode: StopMode) -> None:
        """Ask for the end; a stop that is under way becomes only less patient. Safe in a signal handler."""
        if self.mode is None or mode.rank > self.mode.rank:
            self.mode = mode
        self._wake()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """While inside: SIGTERM drains, a second one stops; SIGINT stops, a second one at once."""

        def on_term(number: int, frame: object) -> None:
            del number, frame
            self.ask(self._wanted() or (StopMode.DRAIN if self.mode is None else StopMode.STOP))

        def on_interrupt(number: int, frame: object) -> None:
            del number, frame
            self.ask(StopMode.STOP if self.mode in {None, StopMode.DRAIN} else StopMode.NOW)

        # SIGHUP: the terminal may close; a daemon outlives it
        before = [
            (number, signal.signal(number, handler))
            for number, handler in ((signal.SIGTERM, on_term), (signal.SIGINT, on_interrupt), (signal.SIGHUP, _ignore))
        ]
        try:
            yield
        finally:
            for number, old in before:
                signal.signal(number, old)

    def press(self, runs: Sequence[ActiveRun]) -> None:
        """Say once what is being done, and tell each runner once what it has to do."""
        mode = self.mode
        if mode is None:
            return
        if mode is not self._announced:
            log.info(_ANNOUNCED[mode], len(runs))
            self._announced = mode
        number = SIGNALS.get(mode)
        for run in runs:
            order = (run.job.run_id, run.process.pid, mode)
            if number is not None and order not in self._told:
                self._told.add(order)
                run.signal(number)

    def to_wait_for(self, runs: Sequence[ActiveRun]) -> list[ActiveRun]:
        """Those of ``runs`` whose end the daemon has to wait for."""
        if self.mode in {None, StopMode.DRAIN}:
            return list(runs)
        return [run for run in runs if not self._only_delivers(run)]

    def note(self, task_id: str, fate: str) -> None:
        """A task has ended; it is worth telling if somebody wants the daemon to stop."""
        if self.mode is not None:
            self._fates.append({"task": task_id, "fate": fate})

    def farewell(self, left: Sequence[ActiveRun]) -> None:
        """Leave word of the tasks. ``left`` are those that go on without us."""
        for run in left:
            log.warning("task %s: its runner goes on without this daemon, %s", run.job.task_id, _STILL)
        fates = [*self._fates, *({"task": run.job.task_id, "fate": _STILL} for run in left)]
        try:
            write_json(self._registration.farewell_file, {"format": RECORD_FORMAT, "tasks": fates}, durable=False)
        except AgentError as error:
            log.warning("%s", error)

    def _only_delivers(self, run: ActiveRun) -> bool:
        if run.journal.state not in {State.FINISHING, State.DONE}:
            return False
        now = self._clock()
        return now - self._finishing.setdefault(run.job.run_id, now) >= DELIVERY_PATIENCE

    def _wanted(self) -> StopMode | None:
        """What ``--stop`` has written down before its signal; None when this signal was not its."""
        record = read_json(self._registration.stop_file)
        if not isinstance(record, dict) or record == self._obeyed:
            return None
        try:
            wanted = StopMode(record.get("mode"))
        except ValueError:
            return None
        self._obeyed = record
        return wanted


def _ignore(number: int, frame: object) -> None:
    del number, frame
