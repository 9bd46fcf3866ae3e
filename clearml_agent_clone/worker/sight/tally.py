"""Counts of what a daemon has finished."""

from __future__ import annotations

import threading
from collections import Counter

from clearml_agent_clone.runner.job import RunFolder
from clearml_agent_clone.runner.outcome import Outcome
from clearml_agent_clone.worker.sight.runs import ConsoleView, RunView
from clearml_agent_clone.worker.sight.snapshot import Finished

UNKNOWN = "unknown"


class Tally:
    """Remembers the ends of tasks for the metrics; may be used from any thread."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()
        self._lost = 0
        self._start: float | None = None
        self._lock = threading.Lock()

    def ended(self, folder: RunFolder, outcome: Outcome | None) -> None:
        """A run is over; its folder is still there."""
        view = RunView.of(folder)
        console = ConsoleView.of(folder)
        with self._lock:
            self._outcomes[_name(outcome)] += 1
            self._lost += console.lost_bytes + console.backlog_bytes
            if view is not None and view.start_seconds is not None:
                self._start = view.start_seconds

    @property
    def finished(self) -> Finished:
        with self._lock:
            return Finished(dict(self._outcomes), self._lost, self._start)


def _name(outcome: Outcome | None) -> str:
    """The cause, and whether the program said that it had failed."""
    if outcome is None:
        return UNKNOWN
    return outcome.ending.verdict.value or outcome.cause.value
