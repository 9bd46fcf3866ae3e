"""File locks that say whether a process lives: the kernel gives them back when it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_PAUSE = 0.01


def open_lock(file: Path) -> int:
    """A descriptor of the lock file, which is made if need be. It is not passed on to child processes.

    Raises:
        OSError: the folder is not there, or nothing can be written there.
    """
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(handle: int, patience: float) -> bool:
    """Take the lock; False when another process has it. It is ours until ``handle`` is closed.

    It is tried for ``patience`` seconds: who only looks (``is_locked``) is gone by then, a holder is not.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # noqa: PERF203 - it waits anyway
            if time.monotonic() >= deadline:
                return False
            time.sleep(_PAUSE)
        else:
            return True


def is_locked(file: Path) -> bool:
    """Whether a living process has the lock; a file that is not there has no holder."""
    try:
        handle = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False
