"""Notice when a task wrote into its environment, so that no later task gets to see it.

Environments are used in place and their files may be hard links into uv's cache. Nothing keeps a task (least of all
root's) from changing them, so each file's size and time of change are written down after the build and compared when
the last user of the environment is gone. Bytecode is left out: every run may add it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

Snapshot = dict[str, tuple[int, int]]
"""Relative path → size and time of change (nanoseconds)."""

_SHOWN = 3
_UNPACKING = 1_000_000_000  # nanoseconds by which files of one package may differ in age, as they were unpacked


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


def tampered(environment: Path, snapshot: Snapshot) -> list[str]:
    """Files of a new environment that are not what their packages say, because uv's cache was changed.

    Files are hard links into that cache, so a task that runs now may have written into it through an environment of
    its own. Only files that are newer than their package's description are looked into; the others cost nothing.
    """
    found = []
    conda = (environment / "conda-meta").is_dir()
    for info in {name.rpartition("/")[0] for name in snapshot if name.endswith(".dist-info/RECORD")}:
        described = [snapshot[name][1] for name in (f"{info}/METADATA", f"{info}/WHEEL") if name in snapshot]
        if not described or (conda and not _by_uv(environment / info)):
            continue
        unpacked = min(described) + _UNPACKING
        site = info.rpartition("/")[0]
        for path, digest in _recorded(environment / info / "RECORD"):
            name = f"{site}/{path}"
            if snapshot.get(name, (0, 0))[1] > unpacked and not _is(environment / name, digest):
                found.append(name)
    return sorted(found)


def _by_uv(info: Path) -> bool:
    """Whether uv put the package there. What conda brings has been worked on after pip had described it."""
    try:
        return (info / "INSTALLER").read_text().strip() == "uv"
    except OSError:
        return False


def _recorded(record: Path) -> Iterator[tuple[str, str]]:
    """The files of a package with their SHA-256 digests, as its RECORD has them."""
    for line in record.read_text(errors="replace").splitlines():
        path, _, rest = line.rpartition(",")[0].rpartition(",")
        if rest.startswith("sha256=") and not path.startswith(("../", '"')):
            yield path, rest.removeprefix("sha256=")


def _is(file: Path, digest: str) -> bool:
    """Whether ``file`` has this digest, or is no hard link and so not from the cache."""
    try:
        if file.lstat().st_nlink < 2:
            return True
        return base64.urlsafe_b64encode(hashlib.sha256(file.read_bytes()).digest()).rstrip(b"=").decode() == digest
    except OSError:
        return True


def named(names: list[str]) -> str:
    """A few of ``names``, for the console."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
