"""The ``environment`` and ``files`` sections: variables to set and files to write before work begins."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.config.kinds import expand_path, to_switch
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.trees import Origin
from clearml_agent_clone.errors import AgentError

_FORMATS = ("", "string", "text", "json", "yaml", "yml", "bytes")


@attrs.frozen
class EnvironmentSection:
    """Variables to set, in the order of the file. Values may be secret."""

    variables: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class FileEntry:
    """A file to write.

    Args:
        name: the entry's name in the section.
        path: where to; absolute.
        contents: what; may be secret.
        mode: permissions; None keeps those of a file that is there, and gives a new one 0600.
        overwrite: replace a file that is there.
    """

    name: str
    path: Path
    contents: bytes = attrs.field(repr=False)
    mode: int | None = None
    overwrite: bool = True


@attrs.frozen
class FilesSection:
    """Files to write, in the order of the file."""

    entries: tuple[FileEntry, ...] = ()


@attrs.frozen
class FileResult:
    """What became of a ``FileEntry``: written, or skipped for a reason."""

    name: str
    path: Path
    skipped: str = ""

    def __str__(self) -> str:
        return f"Skipped [{self.name}]: {self.skipped}" if self.skipped else f"Saved [{self.name}]: {self.path}"


Found = Callable[[str], Origin]


def parse_environment(content: Any, origin: Found) -> tuple[EnvironmentSection, list[Problem]]:
    """The ``environment`` section: an object, or a list of pairs."""
    if isinstance(content, list) and all(isinstance(pair, list) and len(pair) == 2 for pair in content):
        content = dict(content)
    if not isinstance(content, Mapping):
        wrong = [] if content is None else [_problem(origin, "environment", "expected an object of variables")]
        return EnvironmentSection(), wrong
    variables: dict[str, str] = {}
    problems: list[Problem] = []
    for name, value in content.items():
        text = "" if value is None else str(value)
        if not name or "=" in name or "\0" in name + text:
            problems.append(_problem(origin, f"environment.{name}", "no variable can have this name or value"))
        elif isinstance(value, list | Mapping):
            problems.append(_problem(origin, f"environment.{name}", "expected text or a number"))
        else:
            variables[str(name)] = text
    return EnvironmentSection(variables), problems


def apply_environment(section: EnvironmentSection, environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Set the section's variables in ``environ`` and return their names."""
    environ.update(section.variables)
    return tuple(section.variables)


def parse_files(content: Any, environ: Mapping[str, str], origin: Found) -> tuple[FilesSection, list[Problem]]:
    """The ``files`` section. An entry that cannot be understood is left out and told as a problem."""
    if not isinstance(content, Mapping):
        wrong = [] if content is None else [_problem(origin, "files", "expected an object of files")]
        return FilesSection(), wrong
    entries: list[FileEntry] = []
    problems: list[Problem] = []
    for name, item in content.items():
        try:
            entries.append(_parse_entry(str(name), item, environ))
        except ValueError as error:  # noqa: PERF203 - a bad entry must not take the others with it
            problems.append(_problem(origin, f"files.{name}", str(error)))
    return FilesSection(tuple(entries)), problems


def apply_files(section: FilesSection) -> tuple[FileResult, ...]:
    """Write the section's files, each in one step and with its permissions from the first byte on.

    What cannot be written is skipped with the reason: such a file must not keep the agent from its work.
    """
    return tuple(FileResult(entry.name, entry.path, _write(entry)) for entry in section.entries)


def _parse_entry(name: str, item: Any, environ: Mapping[str, str]) -> FileEntry:
    if not isinstance(item, Mapping):
        raise ValueError("expected an object { path, contents }")  # noqa: TRY004 - one error type for a bad entry
    path = item.get("path")
    if not isinstance(path, str) or not path.strip():
        raise ValueError("path is missing")
    overwrite = item.get("overwrite")
    return FileEntry(
        name=name,
        path=expand_path(path.strip(), environ),
        contents=_contents(item),
        mode=_mode(item.get("mode")),
        overwrite=True if overwrite is None else to_switch(overwrite),
    )


def _contents(item: Mapping[str, Any]) -> bytes:
    value = item.get("contents")
    value = "" if value is None else value
    target = str(item.get("target_format") or "").lower()
    if target not in _FORMATS:
        raise ValueError(f'target_format "{target}" is none of json, yaml, bytes and text')
    if str(item.get("format") or "").lower() == "base64":
        try:
            decoded = base64.b64decode("".join(str(value).split()), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError("contents are not base64") from None
        if target == "bytes":
            return decoded
        value = decoded.decode("utf-8")  # UnicodeDecodeError is a ValueError
    elif target == "bytes":
        raise ValueError("target_format bytes needs contents in base64 and format: base64")
    if target == "json":
        return json.dumps(value, indent=4, ensure_ascii=False).encode()
    if target in ("yaml", "yml"):
        from clearml_agent_clone.config.yaml_text import to_yaml  # noqa: PLC0415 - hardly any file asks for it

        return to_yaml(value).encode()
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()


def _mode(value: Any) -> int | None:
    """Permissions: the digits are octal, as chmod has them."""
    if value is None or value == "":
        return None
    try:
        mode = int(str(value).lower().removeprefix("0o"), 8)
    except ValueError:
        mode = -1
    if isinstance(value, bool) or not 0 <= mode <= 0o7777:
        raise ValueError(f'mode "{value}" is not octal')
    return mode


def _write(entry: FileEntry) -> str:
    """Write the file and return an empty text, or return why it was not written."""
    from clearml_agent_clone.util.files import write_atomic  # noqa: PLC0415 - few configurations have files

    path = entry.path.resolve()  # a link keeps pointing where it points
    try:
        if path.is_dir():
            return f"{path} is a folder"
        if path.exists() and not entry.overwrite:
            return f"{path} exists"
        mode = entry.mode
        if mode is None:
            mode = path.stat().st_mode & 0o7777 if path.exists() else 0o600
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, entry.contents, mode=mode, durable=False)
    except (AgentError, OSError) as error:
        return str(error)
    return ""


def _problem(origin: Found, key: str, message: str) -> Problem:
    return Problem.at(origin(key), key, message, "It is left out")
