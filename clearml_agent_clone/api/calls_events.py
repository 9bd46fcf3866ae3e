"""Calls of the ``events`` service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.api.types import Added

LONGEST_MESSAGE = 64 * 1024
"""Characters of one log event's message, as today's agent cuts them."""


def log_line(task: str, worker: str, message: str, *, level: str = "DEBUG", timestamp_ms: int) -> bytes:
    """One console event as the server takes it in ``Events.send``.

    Args:
        task: id of the task.
        worker: id of the worker that says it.
        message: one or more lines.
        level: ``DEBUG`` for a task's output, ``INFO``, ``WARNING`` or ``ERROR`` for the agent's own words.
        timestamp_ms: Unix milliseconds; the server orders a task's console by it.
    """
    event = {
        "type": "log",
        "level": level,
        "task": task,
        "worker": worker,
        "msg": message,
        "timestamp": timestamp_ms,
    }
    return json.dumps(event, separators=(",", ":")).encode()


class Events:
    """Console lines and other events of tasks."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(
        self,
        lines: Sequence[bytes],
        *,
        retry: Retry | None = None,
        acknowledged: Callable[[int], None] | None = None,
    ) -> Added:
        """Send prepared events, in order; see ``Session.send_lines``.

        A lost answer is made up for by sending again, so that a line may arrive twice but none is lost.

        Raises:
            InvalidRequest: not one was taken (``Subcode.NO_EVENT_ADDED``: the task is gone or published).
        """
        if not lines:
            return Added()
        return Added.from_wire(
            self._session.send_lines("events.add_batch", lines, retry=retry, acknowledged=acknowledged)
        )

    def add_log(
        self,
        task: str,
        worker: str,
        message: str,
        *,
        level: str = "INFO",
        timestamp_ms: int | None = None,
        retry: Retry | None = None,
    ) -> Added:
        """Add ``message`` to a task's console, in as many events as its length makes necessary."""
        stamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        parts = [message[begin : begin + LONGEST_MESSAGE] for begin in range(0, len(message), LONGEST_MESSAGE)]
        return self.send([log_line(task, worker, part, level=level, timestamp_ms=stamp) for part in parts], retry=retry)
