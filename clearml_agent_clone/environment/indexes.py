"""Where packages come from: pip's own configuration, the agent's, and what requirement files say.

pip reads all of this by itself. uv does not, and users rely on it, so it is read here and handed to uv.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.environment.lines import Line
from clearml_agent_clone.environment.model import Indexes

_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
_FALSE = {"", "0", "false", "no", "off"}


@attrs.frozen
class Options:
    """What the options of requirement files come to: indexes, flags for the engine, and notes on the rest."""

    indexes: Indexes
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def from_pip(environ: Mapping[str, str]) -> tuple[Indexes, list[str]]:
    """The indexes that pip would use by its files and variables, and the names of those that said something.

    A variable beats a file, and a later file an earlier one, key by key, as in pip. uv's own variables beat both.
    """
    values: dict[str, str] = {}
    told: dict[str, str] = {}
    for name, found in _sources(environ):
        values.update(found)
        told.update(dict.fromkeys(found, name))
    indexes = Indexes(
        main=environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL") or values.get("index-url", ""),
        extra=(
            *_words(environ.get("UV_INDEX") or environ.get("UV_EXTRA_INDEX_URL") or ""),
            *_words(values.get("extra-index-url", "")),
        ),
        find_links=(
            *_words((environ.get("UV_FIND_LINKS") or "").replace(",", " ")),
            *_words(values.get("find-links", "")),
        ),
        none=values.get("no-index", "").strip().lower() not in _FALSE,
        trusted=tuple(_words(values.get("trusted-host", ""))),
        certificate=values.get("cert", ""),
        timeout=values.get("timeout", ""),
        proxy=values.get("proxy", ""),
        constraints=tuple(_words(values.get("constraint", ""))),
    )
    return indexes, sorted(set(told.values()))


def with_options(base: Indexes, extra: Sequence[str], options: Iterable[Line], environ: Mapping[str, str]) -> Options:
    """``base``, then the agent's ``extra`` indexes first, then what requirement files say, as pip treats them.

    ``--index-url`` in a file replaces all indexes named before it, but those of the agent's configuration; the other
    options add to them. ``${NAME}`` in a value stands for a variable, as in pip.
    """
    indexes = attrs.evolve(base, extra=(*extra, *base.extra))
    flags: list[str] = []
    notes: list[str] = []
    for line in options:
        name, value = line.option, _VARIABLE.sub(lambda match: environ.get(match[1]) or match[0], line.value)
        if name == "--index-url":
            indexes = attrs.evolve(indexes, main=value, extra=tuple(extra))
        elif name == "--extra-index-url":
            indexes = attrs.evolve(indexes, extra=(*indexes.extra, value))
        elif name == "--find-links":
            indexes = attrs.evolve(indexes, find_links=(*indexes.find_links, _link(value, line.folder)))
        elif name == "--no-index":
            indexes = attrs.evolve(indexes, none=True)
        elif name == "--trusted-host":
            indexes = attrs.evolve(indexes, trusted=(*indexes.trusted, value))
        elif name in {"--pre", "--require-hashes"}:
            flags.append(name)
        elif name in {"--no-binary", "--only-binary"}:
            flags.append(f"{name}={value}")
        elif name != "--prefer-binary":  # this one only saves time
            notes.append(f"{line.origin}: {line.text}: left out, the option has no meaning here")
    unique = attrs.evolve(
        indexes,
        extra=tuple(url for url in dict.fromkeys(indexes.extra) if url and url != indexes.main),
        find_links=tuple(dict.fromkeys(indexes.find_links)),
        trusted=tuple(dict.fromkeys(indexes.trusted)),
    )
    return Options(unique, tuple(dict.fromkeys(flags)), tuple(notes))


def _link(value: str, folder: Path | None) -> str:
    if "://" in value or value.startswith("/") or folder is None:
        return value
    return str((folder / value).resolve())


def _sources(environ: Mapping[str, str]) -> Iterable[tuple[str, dict[str, str]]]:
    for file in _pip_files(environ):
        yield str(file), _read(file)
    wanted = ("index-url", "extra-index-url", "find-links", "no-index", "trusted-host", "cert", "proxy", "constraint")
    found = {
        name: value for name in wanted if (value := environ.get("PIP_" + name.upper().replace("-", "_"), "").strip())
    }
    if timeout := environ.get("PIP_DEFAULT_TIMEOUT") or environ.get("PIP_TIMEOUT"):
        found["timeout"] = timeout
    yield "PIP_* variables", found


def _pip_files(environ: Mapping[str, str]) -> list[Path]:
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return []
    home = Path(environ.get("HOME") or Path.home())
    system = [
        Path(folder, "pip", "pip.conf") for folder in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if folder
    ]
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    files = [*system, Path("/etc/pip.conf"), home / ".pip" / "pip.conf", user, *([Path(named)] if named else [])]
    return [file for file in files if file.is_file()]


def _read(file: Path) -> dict[str, str]:
    import configparser  # noqa: PLC0415 - many machines have no such file

    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8", errors="replace"))
    except (configparser.Error, OSError):
        return {}  # pip itself will complain where it is used; a broken file must not stop a task that needs no pip
    values: dict[str, str] = {}
    for section in ("global", "install"):
        if parser.has_section(section):
            values.update((key.replace("_", "-"), value) for key, value in parser.items(section))
    return values


def _words(value: str) -> list[str]:
    return value.split()
