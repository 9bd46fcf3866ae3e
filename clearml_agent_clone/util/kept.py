"""What the agent keeps on this machine because a later task may need it, as ``clearml-agent cache`` shows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs


@attrs.frozen
class Kept:
    """One thing that is kept.

    Args:
        kind: ``environment``, ``tool``, ``mirror`` or ``download``.
        key: its name among those of its kind.
        path: where it is.
        size: bytes; files that are shared with something else count too.
        last_use: Unix seconds.
        users: who uses it now, as text; empty when nobody does.
        details: more to show.
        remove: removes it unless it is in use by then; whether it did.
        left: nobody will use it again: it is what interrupted work has left.
    """

    kind: str
    key: str
    path: Path
    size: int
    last_use: float
    users: tuple[str, ...] = ()
    details: Mapping[str, object] = attrs.Factory(dict)
    remove: Callable[[], bool] = attrs.field(default=lambda: False, repr=False, eq=False)
    left: bool = False


def size_of(folder: Path) -> int:
    """Bytes on disk of the files below ``folder``, each counted once. What cannot be read does not count."""
    seen: set[tuple[int, int]] = set()
    total = 0
    pending = [str(folder)]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:  # it went away meanwhile, or is not ours to read
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                total += status.st_blocks * 512
    return total
