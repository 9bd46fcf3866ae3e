"""End processes in stages: a signal that they may answer, time to do so, a kill, and a look whether it worked."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from clearml_agent_clone.launch.family import Family
from clearml_agent_clone.launch.processes import name_of, read_entry, send

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.2
_KILL_PATIENCE = 5.0
_KILL_PAUSE = 0.005


def members(run_id: str) -> list[int]:
    """Pids of a run's processes, of which nothing but the mark in their environment is known."""
    return Family(run_id).members()


def end_all(
    find: Callable[[], list[int]],
    grace: float,
    *,
    signal_first: int = signal.SIGTERM,
    hurried: Callable[[], bool] = lambda: False,
    kill_whole: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> list[int]:
    """End the processes that ``find`` names: ``signal_first``, ``grace`` seconds, then SIGKILL until none is left.

    Args:
        find: looks for them anew at each call.
        grace: seconds between the first signal and SIGKILL; with 0 there is no first signal.
        signal_first: the signal that they may answer. One that is stopped is continued, or it could not.
        hurried: tells that somebody has no patience any more: the rest of the grace is left out.
        kill_whole: kills as many as the system can in one step.
        clock: monotonic seconds.
        wait: waits so many seconds.

    Returns:
        Pids that even SIGKILL did not end within five seconds (stuck in the kernel).
    """
    if grace > 0:
        for pid in find():
            send(pid, signal_first)
            send(pid, signal.SIGCONT)
        deadline, pause = clock() + grace, _FIRST_PAUSE
        while find() and clock() < deadline and not hurried():
            wait(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    deadline, quiet = clock() + _KILL_PATIENCE, 0
    while True:
        kill_whole()
        left = find()
        # one look is not atomic: who forks and ends just then may be missed once, hardly twice
        quiet = 0 if left else quiet + 1
        if quiet == 2:
            return []
        if left:
            if clock() > deadline:
                return left
            _kill(left)
            wait(_KILL_PAUSE)


def describe(pids: list[int]) -> str:
    """For the console: ``4711 (python), 4712 (sleep)``."""
    return ", ".join(f"{pid} ({name_of(pid)})" for pid in pids)


def _kill(pids: list[int]) -> None:
    """SIGKILL, by process group where there is one: a group is hit whole, with those being forked just now."""
    own = os.getsid(0)
    groups = set()
    for pid in pids:
        entry = read_entry(pid)
        # 0 is what a group of another pid namespace looks like; killpg would take it for our own
        if entry is not None and entry.session != own and entry.group > 1:
            groups.add(entry.group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for pid in pids:
        send(pid, signal.SIGKILL)
