"""Identify processes beyond their pid, find all that belong to a task, end them in stages."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.launch.plan import RUN_MARK


@cache
def boot_id() -> str:
    """A word that changes when the machine is started anew."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil  # noqa: PLC0415 - only where there is no /proc

        return str(int(psutil.boot_time()))


@attrs.frozen
class ProcessId:
    """A process for good: a pid is used again, a pid with its start time and boot is not.

    ``started`` is in clock ticks since boot on Linux, else seconds since the epoch.
    """

    pid: int
    started: float
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a living process, None when there is none."""
        started = _start_time(pid)
        return None if started is None else cls(pid, started, boot_id())

    @classmethod
    def from_record(cls, data: object) -> ProcessId | None:
        if not isinstance(data, Mapping):
            return None
        try:
            return cls(int(data["pid"]), float(data["started"]), str(data["boot"]))
        except (KeyError, TypeError, ValueError):
            return None

    def to_record(self) -> dict[str, Any]:
        return attrs.asdict(self)

    @property
    def alive(self) -> bool:
        return self.boot == boot_id() and _start_time(self.pid) == self.started


def members(run_id: str, session: int | None = None) -> list[int]:
    """Pids of the processes that belong to a run: in its session, or marked by their environment.

    Our own process is never among them, nor are zombies.
    """
    import psutil  # noqa: PLC0415 - 3 MB that only the end of a task needs

    mark = f"{RUN_MARK}={run_id}".encode()
    own = os.getpid()
    found = []
    for pid in psutil.pids():
        if pid == own:
            continue
        with contextlib.suppress(OSError):
            in_session = session is not None and os.getsid(pid) == session
            if (in_session or mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")) and not _zombie(pid):
                found.append(pid)
    return found


def end_all(
    find: Callable[[], list[int]],
    grace: float,
    *,
    signal_first: int = signal.SIGTERM,
    clock: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> list[int]:
    """End the processes that ``find`` names: ``signal_first``, ``grace`` seconds, then SIGKILL until none is left.

    Returns:
        Pids that even SIGKILL did not end within five seconds (stuck in the kernel).
    """
    _send(find(), signal_first)
    deadline = clock() + grace
    while (left := find()) and clock() < deadline:
        wait(0.05)
    deadline = clock() + 5.0
    while left and clock() < deadline:
        _send(left, signal.SIGKILL)
        wait(0.02)
        left = find()
    return left


def wait_exit(pid: int, timeout: float | None, wake: int | None = None) -> bool:
    """Wait until the process ``pid`` has exited, without reaping it.

    Args:
        pid: a process, child or not.
        timeout: seconds, None for ever.
        wake: a descriptor that ends the wait early when it becomes readable.

    Returns:
        Whether the process has exited.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        for watched in (handle,) if wake is None else (handle, wake):
            poller.register(watched, select.POLLIN)
        ready = poller.poll(None if timeout is None else timeout * 1000)
        return handle in {number for number, _ in ready}
    finally:
        os.close(handle)


def _send(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _stat(pid: int) -> list[bytes]:
    """The fields of /proc/<pid>/stat after the program's name (which may hold blanks and brackets)."""
    return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()


def _zombie(pid: int) -> bool:
    return _stat(pid)[0] in {b"Z", b"X"}


def _start_time(pid: int) -> float | None:
    try:
        fields = _stat(pid)
        return None if fields[0] in {b"Z", b"X"} else float(fields[19])
    except (OSError, IndexError):
        return None
