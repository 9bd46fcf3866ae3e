"""Parts of a console that were given up, because the server was away and the disk is not endless.

Of what waits to be delivered the middle goes: its beginning continues what the server has already, and its end is
what the task is doing now, or how it died. So a gap begins at one place and grows towards the end of the spool.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path

import attrs

from clearml_agent_clone.logs.spool import Spool
from clearml_agent_clone.util.files import read_json

log = logging.getLogger(__name__)

GAPS_NAME = "console.gaps"

_BLOCK = 1 << 20
_FILE_SIZE = 4096
_KEPT = 32  # as many as the file holds; those before were passed on long ago


@attrs.frozen
class Gap:
    """The bytes from ``begin`` to before ``end`` are gone; so many ``lines`` ended in them."""

    begin: int
    end: int
    lines: int

    @property
    def size(self) -> int:
        return self.end - self.begin


class Gaps:
    """The gaps of one spool, written down before anything is freed. Safe to use from several threads.

    A gap that somebody has begun to pass on does not grow any more; the next one begins where it ends.
    """

    def __init__(self, spool: Spool, folder: Path) -> None:
        self._spool = spool
        self._path = folder / GAPS_NAME
        self._lock = threading.Lock()
        self._all = load_gaps(folder)
        if not self._path.exists():
            self._write_down()
        self._growing: Gap | None = None
        self._entered = 0
        self._no_holes = False

    def enter(self, offset: int, most: int) -> Gap | None:
        """Somebody reads at most ``most`` bytes from ``offset`` on: nothing in there may be given up now.

        Returns the next gap, which ends before ``offset`` at the earliest. Reading has to stop where it begins.
        """
        with self._lock:
            gap = next((gap for gap in self._all if gap.end > offset), None)
            self._entered = max(self._entered, offset + most)
            if gap is not None and gap.begin <= offset + most:
                self._growing = None
            return gap

    def across(self, begin: int, end: int) -> Gap | None:
        """The first gap that has something in common with these bytes."""
        with self._lock:
            return next((gap for gap in self._all if gap.begin < end and gap.end > begin), None)

    def missing(self, offset: int) -> int:
        """How many bytes from ``offset`` on are in gaps."""
        with self._lock:
            return sum(gap.end - max(gap.begin, offset) for gap in self._all if gap.end > offset)

    def drop(self, begin: int, end: int) -> int:
        """Give up what lies between, so that it begins and ends with lines where there are any.

        Args:
            begin: where a new gap begins at the earliest; one that can grow, grows instead.
            end: where it is to end, more or less.

        Returns:
            How many bytes that is; 0 when nothing could be given up.
        """
        with self._lock:
            if self._no_holes:
                return 0
            old = self._growing
            start = old.end if old is not None else self._line_start(max(begin, self._entered, self._last_end()), end)
            stop = self._line_start(end, min(end + _BLOCK, self._spool.size()))
            if stop <= start:
                return 0
            lines = self._lines(start, stop)
            gap = Gap(start, stop, lines) if old is None else Gap(old.begin, stop, old.lines + lines)
            before = self._all
            self._all = [*(before if old is None else before[:-1]), gap][-_KEPT:]
            self._write_down()
            if not self._spool.punch(start, stop):
                log.warning("console that waits for the server cannot be given up: %s has no holes", self._path.parent)
                self._no_holes = True
                self._all = before
                self._write_down()
                return 0
            self._growing = gap
            return stop - start

    def _write_down(self) -> None:
        """In place, in a block that the file has had from the beginning: this happens on full disks."""
        text = json.dumps([attrs.astuple(gap) for gap in self._all]).encode()
        fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.pwrite(fd, text.ljust(_FILE_SIZE), 0)
        except OSError as error:
            log.warning("cannot write %s: %s", self._path, error)
        finally:
            os.close(fd)

    def _last_end(self) -> int:
        return self._all[-1].end if self._all else 0

    def _line_start(self, offset: int, limit: int) -> int:
        """The first beginning of a line, or at least of a word, at ``offset`` or soon after: no half of a secret."""
        data = self._spool.read(offset, min(_BLOCK, limit - offset))
        for end in (b"\n", b" "):
            at = data.find(end)
            if at >= 0:
                return offset + at + 1
        return offset

    def _lines(self, begin: int, end: int) -> int:
        return sum(self._spool.read(at, min(_BLOCK, end - at)).count(b"\n") for at in range(begin, end, _BLOCK))


def gap_text(gap: Gap) -> str:
    """What a reader of the console is told where ``gap`` is."""
    return (
        f"clearml_agent: WARNING: {gap.lines} lines ({gap.size} bytes) of the console are missing here: the server"
        " could not be reached and the disk space for the console was used up (agent.console_max_bytes)"
    )


def load_gaps(folder: Path) -> list[Gap]:
    """The gaps that are written down in ``folder``; none when there is no such record, or a damaged one."""
    data = read_json(folder / GAPS_NAME)
    try:
        return [Gap(*map(int, item)) for item in data or ()]
    except (TypeError, ValueError):
        return []
