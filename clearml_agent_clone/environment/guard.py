"""Notice when a task wrote into its environment, so that no later task gets to see it.

Environments are used in place and their files may be hard links into uv's cache. Nothing keeps a task (least of all
root's) from changing them, so each file's size, time of change and permissions are written down after the build and compared when
the last user of the environment is gone. Bytecode is left out: every run may add it.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from clearml_agent_clone.util.files import read_json, write_json

Snapshot = dict[str, tuple[int, ...]]
"""Relative path → size, time of change (nanoseconds), permissions."""

_SHOWN = 3
_NOTHING = (0, 0)
_REMEMBERED = 50_000
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
                    found[entry.path[start:]] = (status.st_size, status.st_mtime_ns, status.st_mode & 0o7777)
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


def tampered(environment: Path, snapshot: Snapshot, since: float, memory: Path) -> list[str]:
    """Files of a new environment that are not what their packages say, because uv's cache was changed.

    Files are hard links into that cache, so a task that runs now may have written into it through an environment of
    its own. Only files that are newer than their package's description are looked into, and each only once.

    Args:
        environment: what was built.
        snapshot: its files.
        since: when the build began (Unix seconds): what was unpacked after that is as it was fetched.
        memory: a JSON file of those that were looked into; losing it costs a second look.
    """
    data = read_json(memory)
    known: dict[str, int] = data if isinstance(data, dict) and len(data) < _REMEMBERED else {}
    found, seen = [], len(known)
    for info in {name.rpartition("/")[0] for name in snapshot if name.endswith(".dist-info/RECORD")}:
        described = [snapshot[name][1] for name in (f"{info}/METADATA", f"{info}/WHEEL") if name in snapshot]
        if not described:
            continue
        fresh = min(described) > since * 1e9
        for name, digest in _newer(environment, info, snapshot, min(described) + _UNPACKING):
            stamp = snapshot[name][1]
            if known.get(digest) == stamp:
                continue
            if fresh or _is(environment / name, digest):
                known[digest] = stamp
            else:
                found.append(name)
    if len(known) != seen and memory.parent.is_dir():
        write_json(memory, known, durable=False)
    return sorted(found)


def _newer(environment: Path, info: str, snapshot: Snapshot, than: int) -> Iterator[tuple[str, str]]:
    """The files of a package that are newer than that, with the digests that it gives for them."""
    site = info.rpartition("/")[0]
    for path, digest in _recorded(environment / info / "RECORD"):
        name = f"{site}/{path}"
        if snapshot.get(name, _NOTHING)[1] > than:
            yield name, digest


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
