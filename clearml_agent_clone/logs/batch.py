"""Console text as the server's log events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import attrs

from clearml_agent_clone.logs.record import Mark

LONGEST_MESSAGE = 64 * 1024
LARGEST_REQUEST = 2 * 1024 * 1024
"""Bytes of one request's body. A server writes each to its disk before it answers, so few large ones are faster."""


@attrs.frozen
class Batch:
    """One request: its events as JSON lines, and the mark that holds once the server has them."""

    lines: Sequence[bytes]
    after: Mark

    @property
    def size(self) -> int:
        """Bytes of the request's body."""
        return sum(map(len, self.lines)) + len(self.lines) - 1


class Events:
    """Makes log events of one task.

    Args:
        task_id: the task whose console it is.
        worker_id: who reports.
        clock: Unix seconds.
    """

    def __init__(self, task_id: str, worker_id: str, clock: Callable[[], float] = time.time) -> None:
        from clearml_agent_clone.api.calls_events import log_line  # noqa: PLC0415 - not all who redact speak HTTP

        self._log_line = log_line
        self._task_id = task_id
        self._worker_id = worker_id
        self._clock = clock

    def make(self, text: str, level: str, stamp: int) -> tuple[list[bytes], int]:
        """Events that hold ``text``, and the timestamp of the last.

        Args:
            text: several lines; cut into messages of at most 64 KiB, at line ends where there are any.
            level: the server's log level.
            stamp: the last timestamp used. Each event is later by a millisecond at least, so that readers who sort
                by time see the order; only as far as that needs do timestamps leave the clock.
        """
        events = []
        for message in _messages(text):
            stamp = max(int(self._clock() * 1000), stamp + 1)
            line = self._log_line(self._task_id, self._worker_id, message, level=level, timestamp_ms=stamp)
            events.append(line)
        return events, stamp


def _messages(text: str) -> Iterator[str]:
    at = 0
    while len(text) - at > LONGEST_MESSAGE:
        end = text.rfind("\n", at, at + LONGEST_MESSAGE) + 1 or at + LONGEST_MESSAGE
        yield text[at:end]
        at = end
    if at < len(text):
        yield text[at:]
