"""Taking files away, and the folders that are empty then."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from clearml_agent_clone.server.files.paths import BadPath, find, path_of


def delete_file(root: Path, place: Path) -> bool:
    """Delete the file at ``place``; whether there was one."""
    try:
        place.unlink()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False
    _drop_empty(root, place.parent)
    return True


def delete_many(root: Path, references: Iterable[str]) -> dict[str, Any]:
    """Delete files and whole folders, named by path or URL.

    Returns:
        ``deleted`` maps what was given to what was deleted; ``errors`` maps a reason to those it holds for.
    """
    deleted: dict[str, str] = {}
    errors: dict[str, list[str]] = {}
    for reference in references:
        try:
            place = find(root, path_of(reference))
        except (BadPath, ValueError) as error:
            errors.setdefault(f"Invalid path: {error}", []).append(reference)
            continue
        if place.is_dir():
            shutil.rmtree(place, ignore_errors=True)
            _drop_empty(root, place.parent)
            deleted[reference] = reference
        elif delete_file(root, place):
            deleted[reference] = reference
        else:
            errors.setdefault("Not found", []).append(reference)
    return {"deleted": deleted, "errors": errors}


def _drop_empty(root: Path, folder: Path) -> None:
    with contextlib.suppress(OSError):  # not empty: that is where it ends
        while folder != root:
            folder.rmdir()
            folder = folder.parent
