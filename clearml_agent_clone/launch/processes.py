"""Processes as the kernel lists them: who they are beyond their pid, whose children, whether they live."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from clearml_agent_clone.util.boot import boot_id

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_DEAD = frozenset({b"Z", b"X"})


class Entry(NamedTuple):
    """One line of the process table. ``started`` is in clock ticks since boot; ``dead`` is a zombie."""

    pid: int
    parent: int
    group: int
    session: int
    started: float
    dead: bool


@attrs.frozen
class ProcessId:
    """A process for good: a pid is used again, a pid with its start time and boot is not.

    ``started`` is in clock ticks since boot.
    """

    pid: int
    started: float
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId | None:
        """The identity of a living process, None when there is none."""
        entry = read_entry(pid)
        return None if entry is None or entry.dead else cls(pid, entry.started, boot_id())

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
        """Whether it still runs; a zombie does not."""
        return ProcessId.of(self.pid) == self

    @property
    def there(self) -> bool:
        """Whether its pid still means it: it runs, or is a zombie that nobody waited for yet."""
        entry = read_entry(self.pid)
        return self.boot == boot_id() and entry is not None and entry.started == self.started

    @property
    def age(self) -> float:
        """Seconds since it was started, whatever was done to the wall clock meanwhile."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.started / os.sysconf("SC_CLK_TCK")


def read_entry(pid: int) -> Entry | None:
    """The process with that pid, zombies too; None when there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = text.rpartition(b")")[2].split()  # the name before may hold blanks and brackets
    if len(fields) < 20:
        return None
    # the first thread of a program may have ended while others work on: it looks dead, but is not
    dead = fields[0] in _DEAD and int(fields[17]) <= 1
    return Entry(pid, int(fields[1]), int(fields[2]), int(fields[3]), float(fields[19]), dead)


def process_table() -> dict[int, Entry]:
    """All processes that we can see, by pid."""
    entries = (read_entry(int(name)) for name in os.listdir("/proc") if name.isdecimal())  # noqa: PTH208 - names only
    return {entry.pid: entry for entry in entries if entry is not None}


def name_of(pid: int) -> str:
    """The process's name as ``ps`` shows it, printable whatever bytes it gave itself; ``?`` when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_bytes().rstrip(b"\n").decode(errors="backslashreplace")
    except OSError:
        return "?"


def adopt_orphans(*, wanted: bool = True) -> bool:
    """Make processes whose parent ends our children, however deep they are below us; whether the kernel agreed."""
    try:
        return bool(ctypes.CDLL(None).prctl(_SUBREAPER, int(wanted), 0, 0, 0) == 0)
    except (OSError, AttributeError):
        return False


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
        return wait_readable(handle, timeout, wake)
    finally:
        os.close(handle)


def wait_readable(handle: int, timeout: float | None, wake: int | None = None) -> bool:
    """Whether ``handle`` became readable before ``timeout`` seconds were over and before ``wake`` did."""
    poller = select.poll()
    for watched in (handle,) if wake is None else (handle, wake):
        poller.register(watched, select.POLLIN)
    ready = poller.poll(None if timeout is None else timeout * 1000)
    return handle in {number for number, _ in ready}


def send(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
