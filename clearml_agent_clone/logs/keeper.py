"""Keep a console's share of the disk within its bound, and the task's output flowing when the disk is full.

Runs beside the shipper, because a request to a server that does not answer may take a minute, and a task can write
gigabytes in that time.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from clearml_agent_clone.logs.gaps import Gaps
from clearml_agent_clone.logs.spool import RESERVE, Spool

_FAST = 0.25
_SLOW = 1.0
_MUCH = 1 << 20
_LEAST = 8 << 20


class Keeper:
    """Gives shipped console back, gives waiting console up when there is too much; a ``util.loops.Loop``.

    Args:
        spool: the console.
        gaps: what was given up.
        delivered: how many bytes of the spool the server has.
        remark: tells the console at a level.
        keep_bytes: so much of what was shipped stays on disk, unless that is full.
        most_waiting: so much of what was not shipped stays; 0 for no limit but half of the disk space there is.
        free: bytes of free disk space where the spool is.
    """

    name = "console-disk"

    def __init__(
        self,
        spool: Spool,
        gaps: Gaps,
        delivered: Callable[[], int],
        remark: Callable[[str, str], None],
        *,
        keep_bytes: int,
        most_waiting: int,
        free: Callable[[], int] | None = None,
    ) -> None:
        self._spool = spool
        self._gaps = gaps
        self._delivered = delivered
        self._remark = remark
        self._keep_bytes = keep_bytes
        self._most_waiting = most_waiting
        self._free = free or self._free_space
        self._full = False
        self._said = False
        self._size = 0

    def step(self, now: float) -> float:
        """Look once; returns after how many seconds to look again."""
        del now
        size, before = self._spool.size(), self._size
        self._size = size
        self._full = not self._spool.reserve()
        self.give_back()
        self._give_up(size)
        if self._full:
            self._full = not self._spool.reserve()
            if self._full:
                self._say()
        return _FAST if self._full or size - before > _MUCH else _SLOW

    def give_back(self) -> None:
        """Give back what was shipped but for the end of it. May be called from any thread."""
        end = self._delivered() - (0 if self._full else self._keep_bytes)
        if end > 0:
            self._spool.give_back(end)

    def _give_up(self, size: int) -> None:
        delivered = self._delivered()
        waiting = size - delivered - self._gaps.missing(delivered)
        if waiting <= _LEAST:
            return
        limit = max((waiting + self._free()) // 2, _LEAST)
        if self._most_waiting:
            limit = min(limit, max(self._most_waiting, _LEAST))
        if waiting > limit:
            self._gaps.drop(delivered + limit // 4, size - limit // 2)

    def _say(self) -> None:
        if self._said:
            return
        self._said = True
        self._remark(
            "WARNING",
            f"clearml_agent: WARNING: no space left on the disk of {self._spool.path.parent}; the task's output goes"
            f" on in {RESERVE >> 20} MiB that were set aside. When these are used up, its writes fail",
        )

    def _free_space(self) -> int:
        found = os.fstatvfs(self._spool.fd)
        return found.f_bavail * found.f_frsize
