"""A stand-in for the checkout, for programs that would write a lock file into it."""

from __future__ import annotations

import shutil
from pathlib import Path

_WRITTEN = {"pyproject.toml", "uv.lock", "poetry.lock"}


def mirror(root: Path, folder: Path, place: Path) -> Path:
    """Make ``place`` look like the checkout ``root`` and return what stands for ``folder`` in it.

    The folders from ``root`` down to ``folder`` are real and have copies of the project files, so that a lock file can be
    written there; everything else is a link into the checkout, so that paths to other folders hold.
    """
    inner = folder.resolve().relative_to(root.resolve())
    source, target = root.resolve(), place
    for part in (*inner.parts, ""):
        target.mkdir(mode=0o700, parents=True)
        for entry in source.iterdir():
            if entry.name in _WRITTEN and entry.is_file():
                shutil.copyfile(entry, target / entry.name)
            elif entry.name not in {part, ".venv"}:
                (target / entry.name).symlink_to(entry)
        if part:
            source, target = source / part, target / part
    return target
