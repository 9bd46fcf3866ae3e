"""How one process knows that another, which holds a lock, is still at work and not stopped or stuck."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from clearml_agent_clone.environment.locks import FileLock

_TICK = 1.0  # seconds between signs


class Silence:
    """Says whether a builder has shown no sign of life for too long: it touches its lock while it is at work."""

    def __init__(self, file: Path, patience: float) -> None:
        self._file = file
        self._patience = patience
        self._seen = (0, time.monotonic())

    def is_long(self) -> bool:
        try:
            stamp = self._file.stat().st_mtime_ns
        except OSError:  # it is done, and somebody has cleared the lock away
            return False
        now = time.monotonic()
        if stamp != self._seen[0]:
            self._seen = (stamp, now)
        return now - self._seen[1] > self._patience


@contextlib.contextmanager
def signs_of_life(lock: FileLock) -> Iterator[None]:
    """Touch ``lock`` every second inside the block. A process that is stopped, or hangs in the kernel, does not."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(_TICK):
            with contextlib.suppress(OSError):  # its folder was removed, or the disk is full
                lock.touch()

    ticking = threading.Thread(target=tick, name="builder", daemon=True)
    ticking.start()
    try:
        yield
    finally:
        over.set()
        ticking.join()
