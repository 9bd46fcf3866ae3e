"""Notice when a task wrote into its environment, so that no later task gets to see it.

Environments are used in place and their files may be hard links into uv's cache. Nothing keeps a task (least of all
root's) from changing them, so each file's size and time of change are written down after the build and compared when
the last user of the environment is gone. Bytecode is left out: every run may add it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

Snapshot = dict[str, tuple[int, int]]
"""Relative path → size and time of change (nanoseconds)."""

_SHOWN = 3


def take_snapshot(environment: Path) -> Snapshot:
    """What every file below ``environment`` looks like. Links are taken as links."""
    found: Snapshot = {}
    pending = [str(environment)]
    start = len(str(environment)) + 1
    while pending:
        with contextlib.suppress(FileNotFoundError), os.scandir(pending.pop()) as entries:  # what a task left running
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__":
                        pending.append(entry.path)
                elif not entry.name.endswith(".pyc"):
                    status = entry.stat(follow_symlinks=False)
                    found[entry.path[start:]] = (status.st_size, status.st_mtime_ns)
    return found


def changed_files(environment: Path, before: Snapshot) -> list[str]:
    """The files below ``environment`` that were added, changed or removed since ``before``, in order."""
    after = take_snapshot(environment)
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def shared_among(environment: Path, names: list[str]) -> list[str]:
    """Those of ``names`` whose content is also that of another file: a change of it reached uv's cache."""
    found = []
    for name in names:
        try:
            status = (environment / name).lstat()
        except OSError:
            continue
        if status.st_nlink > 1:
            found.append(name)
    return found


def named(names: list[str]) -> str:
    """A few of ``names``, for the console."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
