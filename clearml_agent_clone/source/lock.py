"""The lock of a repository's mirror: only its holder may write there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.util.files import private_dir
from clearml_agent_clone.util.process import Cancel


@contextlib.contextmanager
def held(folder: Path, cancel: Cancel | None, on_wait: Callable[[], object]) -> Iterator[None]:
    """Hold the lock of ``folder``, which is made; the kernel gives it back when its owner dies.

    Args:
        folder: of the mirror.
        cancel: gives up waiting.
        on_wait: called once if somebody else has it.

    Raises:
        Cancelled: ``cancel`` was set before it was our turn.
    """
    from filelock import FileLock, Timeout  # noqa: PLC0415 - a task whose commit is here never locks

    private_dir(folder)
    lock = FileLock(folder / "lock", mode=0o600)
    told = False
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.25, poll_interval=0.05)
        except Timeout:  # noqa: PERF203 - it waits anyway
            if not told:
                on_wait()
            told = True
            if cancel is not None and cancel.is_set():
                raise Cancelled from None
    try:
        yield
    finally:
        lock.release()
