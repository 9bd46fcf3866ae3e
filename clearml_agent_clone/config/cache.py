"""Parsed files, remembered, so that a large clearml.conf costs its parse once and not at every start.

An entry holds for as long as the file, the files it includes and the environment variables it substitutes are what
they were. Entries hold secrets, as the file does: they are made 0600, and one that somebody else could have written
is not believed.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clearml_agent_clone.config.parsed import Parsed, stamp_of
from clearml_agent_clone.errors import AgentError

_FORMAT = 1
_LONGEST_PARSE = 60.0


def read_config(
    path: Path, environ: Mapping[str, str], *, below: str = "", folder: Path | None = None, apart: bool = False
) -> Parsed:
    """The content of the configuration file ``path``.

    Args:
        path: the file.
        environ: for substitutions.
        below: the dotted key that the whole file is the content of.
        folder: where parsed files are kept; None keeps none.
        apart: let a process of its own parse, which takes longer and keeps the parser out of our memory.

    Raises:
        UserError: it cannot be read, or is no HOCON.
    """
    stamp = stamp_of(path)
    entry_file = folder / _entry_name(path, below) if folder else None
    remembered = _remembered(entry_file, _place(path, below), environ)
    if remembered is None and folder and apart:
        _parse_apart(path, environ, below, folder)
        remembered = _remembered(entry_file, _place(path, below), environ)
    if remembered is not None:
        return remembered
    from clearml_agent_clone.config.hocon import parse_file  # noqa: PLC0415 - slow to import, and rarely needed

    parsed = parse_file(path, environ, below=below)
    if entry_file and parsed.repeatable and stamp == stamp_of(path):
        _store(entry_file, _place(path, below), parsed, stamp)
    return parsed


def _remembered(entry_file: Path | None, place: str, environ: Mapping[str, str]) -> Parsed | None:
    """What was parsed before, if it still holds."""
    entry = _read_entry(entry_file) if entry_file else None
    path = Path(place.partition("\n")[0])
    if entry is None or entry["place"] != place or not _holds(entry, stamp_of(path), environ):
        return None
    return Parsed(
        entry["tree"],
        entry["lines"],
        entry["sources"],
        [Path(name) for name, _ in entry["files"]],
        missing=[(line, name) for line, name in entry["missing"]],
    )


def _parse_apart(path: Path, environ: Mapping[str, str], below: str, folder: Path) -> None:
    """Fill the cache from another process. Whatever goes wrong there will be told when we parse ourselves."""
    from clearml_agent_clone.util.process import run  # noqa: PLC0415 - only for a file that changed

    request = {"path": str(path), "below": below, "folder": str(folder), "environ": dict(environ)}
    code = f"from {__name__} import serve; serve()"
    with contextlib.suppress(AgentError):
        run([sys.executable, "-c", code], stdin=json.dumps(request).encode(), timeout=_LONGEST_PARSE)


def is_stale(entry_file: Path) -> bool:
    """Whether nobody can have use for an entry any more: its file is gone, or it is none that we understand."""
    entry = _read_entry(entry_file)
    return entry is None or not Path(str(entry.get("place", "")).partition("\n")[0]).exists()


def serve() -> None:
    """The other process of ``_parse_apart``: what to do comes by stdin, because an environment may hold secrets."""
    request = json.load(sys.stdin)
    try:
        read_config(Path(request["path"]), request["environ"], below=request["below"], folder=Path(request["folder"]))
    except AgentError:
        sys.exit(1)


def _holds(entry: Mapping[str, Any], stamp: object, environ: Mapping[str, str]) -> bool:
    return (
        _same(entry["stamp"], stamp)
        and all(_same(known, stamp_of(Path(name))) for name, known in entry["files"])
        and all(_variable_digest(environ.get(name)) == known for name, known in entry["variables"].items())
    )


def _same(known: list[int] | None, stamp: object) -> bool:
    return (None if known is None else tuple(known)) == stamp


def _store(entry_file: Path, place: str, parsed: Parsed, stamp: object) -> None:
    from clearml_agent_clone.util.files import private_dir, write_json  # noqa: PLC0415 - needed only to write

    entry = {
        "format": _FORMAT,
        "place": place,
        "stamp": stamp,
        "files": [[str(file), stamp_of(file)] for file in parsed.files],
        "variables": {name: _variable_digest(value) for name, value in parsed.variables.items()},
        "missing": parsed.missing,
        "tree": parsed.tree,
        "lines": parsed.lines,
        "sources": parsed.sources,
    }
    with contextlib.suppress(AgentError):  # a home that cannot be written, a full disk: the next start parses again
        private_dir(entry_file.parent)
        write_json(entry_file, entry, durable=False)


def _read_entry(entry_file: Path) -> Any:
    """The entry, or None when there is none that can be trusted and understood."""
    try:
        with entry_file.open("rb") as file:
            owner = os.fstat(file.fileno())
            if owner.st_uid != os.getuid() or owner.st_mode & 0o077:
                return None
            entry = json.load(file)
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) and entry.get("format") == _FORMAT else None


def _variable_digest(value: str | None) -> str | None:
    if value is None:
        return None
    import hashlib  # noqa: PLC0415 - few files substitute variables

    return hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()


def _entry_name(path: Path, below: str) -> str:
    """One file for each place. Should two places ever share it, the entry says whose it is."""
    return f"{path.name}-{zlib.crc32(_place(path, below).encode(errors='surrogateescape')):08x}.json"


def _place(path: Path, below: str) -> str:
    return f"{path}\n{below}"
