"""What the agent itself has to say in a task's console at a level of its own, in order with the task's output."""

from __future__ import annotations

import itertools
import json
import os
import threading
from pathlib import Path

import attrs

REMARKS_NAME = "console.remarks"


@attrs.frozen
class Remark:
    """``at`` is the size of the spool when it was made: it comes after those bytes and before the next."""

    at: int
    level: str
    text: str


class Remarks:
    """The remarks of one run, kept in a file so that a new runner delivers what the last one could not."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / REMARKS_NAME
        self._lock = threading.Lock()
        self._all = _load(self._path)

    def __len__(self) -> int:
        return len(self._all)

    def add(self, remark: Remark) -> None:
        """Write ``remark`` down. It must not be earlier in the spool than the last one."""
        line = json.dumps(attrs.asdict(remark)).encode() + b"\n"
        with self._lock:
            fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, line)
            finally:
                os.close(fd)
            self._all.append(remark)

    def after(self, delivered: int) -> Remark | None:
        """The first remark that is still to be delivered."""
        return self._all[delivered] if delivered < len(self._all) else None


def _load(path: Path) -> list[Remark]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    return list(itertools.takewhile(lambda remark: remark.level, map(_parsed, lines)))


def _parsed(line: str) -> Remark:
    """The remark in ``line``; one without level when a crash cut it off."""
    try:
        return Remark(**json.loads(line))
    except (ValueError, TypeError):
        return Remark(0, "", "")
