"""Calls of the ``events`` service."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from clearml_agent_clone.api.access import ONCE, Retry
from clearml_agent_clone.api.session import Session

_SPELLED = {b"\\": b"\\\\", b'"': b'\\"', b"\n": b"\\n", b"\t": b"\\t", b"\r": b"\\r", b"\x1b": b"\\u001b"}
"""What JSON spells in another way. The backslash comes first: the others bring some along."""
_SIMPLE = bytes(code for code in range(256) if 32 <= code < 127 or bytes([code]) in _SPELLED)

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
        "timestamp": timestamp_ms,
    }
    return b'%s,"msg":%s}' % (json.dumps(event, separators=(",", ":")).encode()[:-1], _quoted(message))


def _quoted(text: str) -> bytes:
    """``text`` as JSON; of what most consoles print several times as fast as ``json.dumps``."""
    if text.isascii():
        raw = text.encode()
        if not raw.translate(None, _SIMPLE):
            for sign, spelled in _SPELLED.items():
                raw = raw.replace(sign, spelled)
            return b'"%s"' % raw
    return json.dumps(text).encode()


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
