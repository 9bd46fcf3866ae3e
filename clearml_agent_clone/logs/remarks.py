"""What the agent itself has to say in a task's console at a level of its own, in order with the task's output."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path

import attrs

log = logging.getLogger(__name__)

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
            self._all.append(remark)
            try:
                self._append(line)
            except OSError as error:  # it will still be delivered, though not by another process
                log.warning("cannot write %s: %s", self._path, error)

    def _append(self, line: bytes) -> None:
        fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    @property
    def last_text(self) -> str:
        """The latest remark; empty when there is none."""
        return self._all[-1].text if self._all else ""

    def holds(self, text: str) -> bool:
        """Whether there is a remark with just this text, also by an earlier process."""
        return any(remark.text == text for remark in self._all)

    def after(self, delivered: int) -> Remark | None:
        """The first remark that is still to be delivered."""
        return self._all[delivered] if delivered < len(self._all) else None


def _load(path: Path) -> list[Remark]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)  # a crash or a full disk cut the last one off; the next must not be glued to it
    return [Remark(**json.loads(line)) for line in data[:end].splitlines()]
