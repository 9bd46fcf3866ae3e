"""Whether files are byte for byte what a diff was made from, and what it was to make of them.

``git diff`` writes the ids of both contents above each file's hunks. They show what line numbers and context cannot:
that a hunk without context stands where its author had it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.patch import FilePatch


def strangers(files: Sequence[FilePatch], root: Path, git: Git) -> list[FilePatch]:
    """The files of ``files`` that are not what the diff was made from, as far as it says from what."""
    suspects = [file for file in files if file.old_blob and file.old and not _is(root / file.old, file.old_blob)]
    return [file for file in suspects if not _filtered_is(file.old, file.old_blob, root, git)]


def as_recorded(files: Sequence[FilePatch], root: Path) -> list[FilePatch]:
    """The files that are what the diff was made from, and of which it says what they become."""
    made = (file for file in files if file.old_blob and file.new_blob and file.new and not file.is_gitlink)
    return [file for file in made if not file.old or _is(root / file.old, file.old_blob)]


def mistaken(files: Sequence[FilePatch], root: Path, git: Git) -> list[str]:
    """Paths of ``files`` that have not become what the diff says."""
    suspects = [file for file in files if not _is(root / file.new, file.new_blob)]
    return [file.new for file in suspects if not _filtered_is(file.new, file.new_blob, root, git)]


def _is(path: Path, blob: str) -> bool:
    """Whether the file's bytes have this id, or one that begins so."""
    try:
        data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    except (OSError, ValueError):
        return False
    head = b"blob %d\0" % len(data)
    ids = (hashlib.sha1(head + data, usedforsecurity=False), hashlib.sha256(head + data))
    return any(one.hexdigest().startswith(blob) for one in ids)


def _filtered_is(name: str, blob: str, root: Path, git: Git) -> bool:
    """The same by git, which knows about line ends and filters of the repository."""
    if (root / name).is_symlink() or not (root / name).is_file():
        return False
    found = git.quiet("hash-object", "--", name, cwd=root)
    return found.ok and found.output.strip().startswith(blob)
