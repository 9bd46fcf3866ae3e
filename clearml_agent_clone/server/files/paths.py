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


def path_of(reference: str) -> str:
    """The path in ``reference``, which is a URL of this service or a bare path."""
    return unquote(urlsplit(reference).path)
