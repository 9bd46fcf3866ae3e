"""Files that are private by construction and never half-written."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from clearml_agent_clone.errors import Retryable, UserError


def private_dir(path: Path) -> Path:
    """Make ``path`` and its parents, mode 0700 for what is made here, and return it.

    Raises:
        UserError: something that is not a directory stands in the way, or the place cannot be written.
    """
    try:
        for folder in (*reversed(path.parents), path):
            if folder == path or not folder.exists():  # mkdir's own "parents" would make them for everybody to read
                folder.mkdir(mode=0o700, exist_ok=True)
    except FileExistsError:
        raise UserError(f"{path} is not a directory", remedy="Move the file away or choose another folder") from None
    except OSError as error:
        raise _explain(error, path) from error
    return path


def own_dir(path: Path) -> Path:
    """``private_dir`` for a folder whose content we trust: it has to be ours, and ours alone to change.

    Raises:
        UserError: it belongs to somebody else (``state-dir-foreign``), or others may change it (``state-dir-open``).
    """
    private_dir(path)
    link, found, me = path.lstat(), path.stat(), os.geteuid()
    if found.st_uid != me:
        raise UserError(
            f"the state folder {path} belongs to {_user(found.st_uid)}, and this agent runs as {_user(me)}",
            remedy="Run it as that user, or set CLEARML_AGENT_STATE_DIR to a folder of your own",
            code="state-dir-foreign",
        )
    if link.st_uid not in {0, me}:
        raise UserError(
            f"the state folder {path} is a link that {_user(link.st_uid)} has made",
            remedy="Remove the link, or set CLEARML_AGENT_STATE_DIR to a folder of your own",
            code="state-dir-foreign",
        )
    if found.st_mode & 0o022:
        raise UserError(
            f"the state folder {path} can be changed by other users (mode {found.st_mode & 0o7777:04o})",
            remedy=f"Look whether they have, then make it private: chmod 700 {path.resolve()}",
            code="state-dir-open",
        )
    return path


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o600, durable: bool = True) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old content or the new, never a part.

    Args:
        path: the file; its folder must exist.
        data: text is encoded as UTF-8.
        mode: permissions of the new file, from its first byte on.
        durable: also survive a power cut (fsync of the file and of its folder).

    Raises:
        Retryable: the disk is full.
        UserError: the place cannot be written.
    """
    raw = data.encode() if isinstance(data, str) else data
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(raw)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        Path(temporary).replace(path)
        if durable:
            sync_dir(path.parent)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise _explain(error, path) from error


def write_json(path: Path, value: Any, *, durable: bool = True) -> None:
    """``write_atomic`` of ``value`` as JSON, mode 0600."""
    write_atomic(path, json.dumps(value, separators=(",", ":"), default=str), durable=durable)


def read_json(path: Path) -> Any:
    """The JSON in ``path``, or None when the file is missing or is not JSON (a foreign or damaged file)."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def sync_dir(path: Path) -> None:
    """Make a rename inside ``path`` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def slug(text: str) -> str:
    """``text`` as one safe file name: letters, digits, dot, dash and underscore; anything else becomes ``_``."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "_"


def _explain(error: OSError, path: Path) -> UserError | Retryable:
    import errno  # noqa: PLC0415 - only the unlucky path needs it

    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Retryable(f"no space left for {path}", remedy="Free some disk space", code="disk-full")
    return UserError(
        f"cannot write {path}: {error.strerror or error}",
        remedy="Check the owner and mode of the folder, or set CLEARML_AGENT_STATE_DIR to another one",
        code="not-writable",
    )


def _user(uid: int) -> str:
    import pwd  # noqa: PLC0415 - only the unlucky path needs it

    try:
        return f"user {pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"user {uid}"
