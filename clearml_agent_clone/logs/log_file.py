"""A log file that is private, turned over by size, and that a full disk can neither lose silently nor kill."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

_KEPT = 256 * 1024
_TRY_AGAIN_AFTER = 64 * 1024


class LogFile:
    """Appends lines to ``path``; its older files are beside it as ``.1`` (the youngest), ``.2`` and so on.

    Nothing here raises once it is made: what cannot be written waits in memory (at most 256 KiB) for the next line,
    and what had to be dropped is counted. Lines that were written are never lost by turning over,
    and a file that somebody moved or deleted is begun anew.

    Args:
        path: made with mode 0600.
        max_bytes: size at which a new file is begun; 0 for never.
        backups: how many old ones are kept.

    Raises:
        OSError: the file cannot be made or opened.
    """

    def __init__(self, path: Path, max_bytes: int, backups: int) -> None:
        self.path = path
        self._max = max_bytes
        self._backups = backups
        self._pending = bytearray()
        self._dropped = 0
        self._torn = False
        self._mend = False
        self._not_before = 0
        self._fd = open_private(path)

    def write(self, line: bytes) -> None:
        """Append ``line``, which ends in a line break."""
        self._pending += line
        try:
            self._follow()
            self._turn_over(len(line))
            self._write_pending()
        except OSError:
            self._drop_oldest()

    def take_dropped(self) -> int:
        """How many lines were dropped since this was last asked; 0 while the file cannot be written."""
        if self._pending:
            return 0
        dropped, self._dropped = self._dropped, 0
        return dropped

    def close(self) -> None:
        """Close the file, after a last try to write what waits."""
        with contextlib.suppress(OSError):
            self._write_pending()
        os.close(self._fd)

    def _write_pending(self) -> None:
        if self._mend:
            os.write(self._fd, b"\n")
            self._mend = False
        while self._pending:
            count = os.write(self._fd, self._pending)
            self._torn = self._pending[count - 1 : count] != b"\n"
            del self._pending[:count]

    def _drop_oldest(self) -> None:
        """Keep what waits in bounds, in whole lines."""
        while len(self._pending) > _KEPT:
            del self._pending[: self._pending.index(b"\n") + 1]
            self._dropped += 1
            self._mend = self._mend or self._torn  # its first half is in the file
            self._torn = False

    def _follow(self) -> None:
        """Open the file again when its name leads elsewhere."""
        ours = os.fstat(self._fd)
        try:
            there = self.path.stat()
            moved = (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino)
        except FileNotFoundError:
            moved = True
        if moved:
            fresh = open_private(self.path)
            os.close(self._fd)
            self._fd = fresh

    def _turn_over(self, coming: int) -> None:
        size = os.fstat(self._fd).st_size
        if not self._max or not size or size + coming <= self._max or size < self._not_before:
            return
        fresh_path = self.path.with_name(f"{self.path.name}.new")
        try:
            fresh = open_private(fresh_path)  # first of all: without a new file the old one stays in use
        except OSError:
            self._not_before = size + _TRY_AGAIN_AFTER
            return
        try:
            if self._backups:
                self._shift()
            fresh_path.replace(self.path)
        except OSError:
            os.close(fresh)
            self._not_before = size + _TRY_AGAIN_AFTER
            return
        os.close(self._fd)
        self._fd, self._not_before = fresh, 0

    def _shift(self) -> None:
        names = [self.path, *(self.path.with_name(f"{self.path.name}.{n}") for n in range(1, self._backups + 1))]
        for young, old in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                young.replace(old)


def open_private(path: Path) -> int:
    """A descriptor that appends to ``path``, which is made, or made to be, readable by its owner only."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(fd, 0o600)
    except OSError:
        os.close(fd)
        raise
    return fd
