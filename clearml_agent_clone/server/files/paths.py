"""Names that clients give to files → places under one folder, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

INCOMING = ".incoming"
"""Folder of half-written uploads, beside the files; no client can name it."""

_LONGEST_PART = 255
_LONGEST_PATH = 3000


class BadPath(Exception):  # noqa: N818 - it is an answer to the client, not a failure of ours
    """A name that is empty or leads outside; its text says why."""


def locate(root: Path, name: str) -> Path:
    """The place of the file ``name`` under ``root``; it need not exist.

    Leading slashes do not count, as a client may send the path of a URL. ``root`` itself must be free of symbolic
    links (``Path.resolve``).

    Raises:
        BadPath: the name is empty, too long, has ``..`` in it, or passes through a symbolic link.
    """
    parts = [part for part in name.split("/") if part]
    if not parts:
        raise BadPath("the path is empty")
    if ".." in parts or "." in parts or parts[0] == INCOMING:
        raise BadPath("the path leads outside the files folder")
    if any(not part.isprintable() for part in parts):
        raise BadPath("the path has control characters in it")
    if len(name.encode()) > _LONGEST_PATH or any(len(part.encode()) > _LONGEST_PART for part in parts):
        raise BadPath("the path is too long")
    place = root.joinpath(*parts)
    if os.path.realpath(place) != str(place):
        raise BadPath("the path passes through a symbolic link")
    return place


def find(root: Path, name: str) -> Path:
    """The place of a file that a client asks for: ``locate``, but also under its percent-encoded spelling.

    The SDK quotes the name of a task before it makes it part of a path, and the URL that it keeps of a model is that
    path as it is. Every reader of the URL then undoes a quoting that is part of the stored name.

    Raises:
        BadPath: as ``locate``.
    """
    exact = locate(root, name)
    if os.path.lexists(exact):
        return exact
    place = root
    for part in exact.relative_to(root).parts:
        place /= part if os.path.lexists(place / part) else _spelled(place, part)
    return locate(root, str(place.relative_to(root)))


def _spelled(folder: Path, part: str) -> str:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:  # no such folder: then the file is not there either
        return part
    return next((name for name in names if unquote(name) == part), part)


def path_of(reference: str) -> str:
    """The path in ``reference``, which is a URL of this service or a bare path."""
    return unquote(urlsplit(reference).path)
