"""What processes cost."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

import psutil


def cpu_seconds(processes: Iterable[psutil.Process], *, without: int = 0) -> float:
    """CPU seconds that ``processes`` have used so far, and the children that they have reaped.

    Args:
        processes: such as an agent's.
        without: the id of a process to leave out with all its children, such as the user's.
    """
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if without and (process.pid == without or without in {parent.pid for parent in process.parents()}):
                continue
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total
