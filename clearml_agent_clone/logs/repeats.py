"""Fold what a log says again and again: a server that is away for a night fills no disk and hides no other line."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

import attrs

WINDOW = 600.0
"""Seconds for which the same warning is counted in place of written."""

_MOST = 64
_VARIES = re.compile(r"0x[0-9a-fA-F]+|\b\d+(\.\d+)? ?(s|ms|seconds)\b")  # addresses, pauses
_SHOWN = 200


@attrs.define
class _Repeated:
    record: logging.LogRecord
    text: str
    written: float
    count: int = 0
    last: float = 0.0


class Repeats:
    """Decides which records are written. A warning that comes again is counted, and the count told after ten minutes,
    or as soon as the same loop says something better (a level below).

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str, str], _Repeated] = {}

    def admit(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """What is to be written now that ``record`` has come: counts of earlier ones, and it itself unless it is
        counted.
        """
        now = self._clock()
        stream = (record.name, record.threadName or "")
        if record.levelno < logging.WARNING:
            return [*self._tell(lambda key, _: key[:2] == stream), record]
        told = self._tell(lambda _, known: now - known.written >= WINDOW)
        text = _text(record)
        key = (*stream, _VARIES.sub("#", text))
        known = self._known.get(key)
        if known is not None:
            known.count += 1
            known.last = now
            return told
        if len(self._known) >= _MOST:
            told += self._tell(lambda key, _: key == next(iter(self._known)))
        self._known[key] = _Repeated(record, text, now)
        return [*told, record]

    def rest(self) -> list[logging.LogRecord]:
        """The counts that were not told yet; at the end."""
        return self._tell(lambda _key, _known: True)

    def _tell(self, which: Callable[[tuple[str, str, str], _Repeated], bool]) -> list[logging.LogRecord]:
        found = [key for key, known in self._known.items() if which(key, known)]
        return [_count(known) for known in map(self._known.pop, found) if known.count]


def _text(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return record.getMessage() + (f": {error!r}" if error is not None else "")


def _count(known: _Repeated) -> logging.LogRecord:
    times = "once more" if known.count == 1 else f"{known.count} times more"
    first = known.record
    text = known.text if len(known.text) <= _SHOWN else known.text[:_SHOWN] + "…"
    counted = logging.LogRecord(
        first.name,
        first.levelno,
        first.pathname,
        first.lineno,
        "the same %s within %.0f s: %s",
        (times, known.last - known.written, text),
        None,
    )
    counted.threadName = first.threadName
    return counted
