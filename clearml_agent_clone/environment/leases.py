"""The file that says whether an environment is in use: who holds its lock uses it, its time is that of the last use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.util.boot import boot_id


def state(*, clean: bool) -> bytes:
    """What stands in a lease. Clean: nobody used it since its files were compared, and the machine did not go down."""
    return f"clean {boot_id()}".encode() if clean else b"used"


def last_use(folder: Path) -> float | None:
    """When the environment in ``folder`` was last used (Unix seconds); None when it is gone."""
    try:
        return os.stat(folder / "lease").st_mtime  # noqa: PTH116 - called for every environment of the store
    except OSError:
        return None


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[FileLock | None]:
    """Have ``folder`` to oneself inside the block; None when somebody uses it or it is gone."""
    lock = FileLock(folder / "lease")
    try:
        mine = lock.take(alone=True)
    except FileNotFoundError:
        mine = False
    try:
        yield lock if mine else None
    finally:
        lock.release()
