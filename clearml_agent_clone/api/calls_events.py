"""Calls of the ``events`` service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from clearml_agent_clone.api.access import ONCE, Retry
from clearml_agent_clone.api.session import Session

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
        retry: Retry = ONCE,
        acknowledged: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """Send prepared events, in order, and return the answer: ``added``, ``errors``, ``errors_info``.

        Bad events do not fail the good ones; they are only counted. See ``Session.send_lines`` for the arguments and
        for what may be repeated after an error.

        Raises:
            InvalidRequest: not one was taken (``Subcode.NO_EVENT_ADDED``: the task is gone or published).
        """
        return self._session.send_lines("events.add_batch", lines, retry=retry, acknowledged=acknowledged)

    def add_log(
        self,
        task: str,
        worker: str,
        message: str,
        *,
        level: str = "INFO",
        timestamp_ms: int | None = None,
        retry: Retry | None = None,
    ) -> None:
        """Add ``message`` to a task's console, in as many events as its length makes necessary."""
        stamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        parts = [message[begin : begin + LONGEST_MESSAGE] for begin in range(0, len(message), LONGEST_MESSAGE)]
        lines = [log_line(task, worker, part, level=level, timestamp_ms=stamp) for part in parts]
        self.send(lines, retry=retry or self._session.access.retry)
