"""A control group of its own for each run, where the system lets us make one.

Whatever a process does, it stays in its group, so a group finds and ends what no other way would. Only version 2 of
the interface and only its core is used, no controllers: the group is a child of the one that we are in ourselves,
which is what a service manager hands over when it delegates, and where that cannot be written there is no group.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import attrs

_PREFIX = "clearml-run-"
_YOUNG = 60.0  # seconds in which a new group may still be empty
_OCTAL = re.compile(r"\\([0-7]{3})")


@attrs.frozen
class Cgroup:
    """The group of one run."""

    path: Path

    @classmethod
    def create(cls, run_id: str, parent: Path | None = None) -> Cgroup | None:
        """Make the group of a run, None where that is not possible.

        Args:
            run_id: names it.
            parent: the group to make it in; by default the one that this process is in.
        """
        parent = parent or own_group()
        if parent is None:
            return None
        _sweep(parent)
        path = parent / f"{_PREFIX}{run_id}"
        try:
            path.mkdir(exist_ok=True)
        except OSError:
            return None
        if not (path / "cgroup.procs").exists():  # not a cgroup file system after all
            with contextlib.suppress(OSError):
                path.rmdir()
            return None
        return cls(path)

    def enter(self) -> bool:
        """Move this process, and all that it will start, into the group; takes some ten milliseconds."""
        return _write(self.path / "cgroup.procs", str(os.getpid()))

    def pids(self) -> list[int]:
        """Who is in it, also in groups that its processes made below it."""
        found: list[int] = []
        for folder in self._folders():
            with contextlib.suppress(OSError):
                found += [int(word) for word in (folder / "cgroup.procs").read_text().split()]
        return [pid for pid in found if pid > 0]

    def kill(self) -> None:
        """SIGKILL to all in it, those too that are being forked just now."""
        _write(self.path / "cgroup.freeze", "0")
        _write(self.path / "cgroup.kill", "1")  # Linux 5.14; before, the caller's own signals have to do

    def remove(self) -> bool:
        """Remove the group; False when somebody is still in it."""
        for folder in reversed(self._folders()):
            with contextlib.suppress(FileNotFoundError):
                try:
                    folder.rmdir()
                except OSError:
                    return False
        return True

    def _folders(self) -> list[Path]:
        return [Path(folder) for folder, _, _ in os.walk(self.path)]


def own_group() -> Path | None:
    """The folder of the group that this process is in, None when there is none that we can see."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    ours = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    return None if ours is None else folder_of(ours, mounts)


def folder_of(group: str, mounts: list[str]) -> Path | None:
    """Where a group (as ``/proc/self/cgroup`` names it) is in the file system, from the lines of ``mountinfo``."""
    for line in mounts:
        before, _, after = line.partition(" - ")
        if after.split(" ", 1)[0] != "cgroup2":
            continue
        root, point = (_plain(text) for text in before.split(" ")[3:5])
        inside = os.path.relpath(group, root)
        if not inside.startswith("..") and not group.startswith("/.."):
            folder = Path(point) / inside
            return folder if folder.is_dir() else None
    return None


def _sweep(parent: Path) -> None:
    """Remove groups of earlier runs that nobody is in any more; the kernel refuses those that are in use."""
    now = time.time()
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if now - path.stat().st_mtime > _YOUNG:
                path.rmdir()


def _plain(text: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _write(path: Path, text: str) -> bool:
    try:
        path.write_text(text)
    except OSError:
        return False
    return True
