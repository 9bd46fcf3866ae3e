"""Where packages come from: pip's own configuration, the agent's, and what requirement files say.

pip reads all of this by itself. uv does not, and users rely on it, so it is read here and handed to uv.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.environment.addresses import filled, missing, named_variables, without_secrets
from clearml_agent_clone.environment.lines import Line
from clearml_agent_clone.environment.model import Indexes

_ADDING = frozenset(
    {
        *("--extra-index-url", "--find-links", "--trusted-host", "--no-index"),
        *("--cert", "--proxy", "--timeout", "--default-timeout"),
    }
)
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
        strategy=environ.get("UV_INDEX_STRATEGY", "").strip(),
    )
    return indexes, sorted(set(told.values()))


def with_options(
    base: Indexes,
    extra: Sequence[str],
    options: Iterable[Line],
    environ: Mapping[str, str],
    known: Indexes = Indexes(),  # noqa: B008 - a value that cannot change
) -> Options:
    """``base``, then the agent's ``extra`` indexes first, then what requirement files say, as pip treats them.

    ``--index-url`` in a file replaces all indexes named before it, but those of the agent's configuration; the other
    options add to them. ``${NAME}`` in a value stands for a variable, as in pip. Indexes without credentials get those
    that ``known``, ``base`` and ``extra`` have for them.
    """
    indexes = attrs.evolve(base, extra=(*extra, *base.extra))
    flags: list[str] = []
    notes: list[str] = []
    hidden: dict[str, str] = {}
    for line in options:
        name, value = line.option, filled(line.value, environ)
        hidden.update((environ[found], f"${{{found}}}") for found in named_variables(line.value) if environ.get(found))
        if unset := missing(line.value, environ):
            notes.append(f"{line.origin}: {line.text}: not set on this machine: {', '.join(unset)}")
        if name == "--index-url":
            indexes = attrs.evolve(indexes, main=value, extra=tuple(extra))
        elif name in _ADDING:
            indexes = _adding(indexes, name, value, line.folder)
        elif name in {"--pre", "--require-hashes"}:
            flags.append(name)
        elif name in {"--no-binary", "--only-binary"}:
            flags += [f"{name}={part.strip()}" for part in value.split(",") if part.strip()]
        elif name != "--prefer-binary":  # this one only saves time
            notes.append(f"{line.origin}: {line.text}: left out, the option has no meaning here")
    indexes = _with_credentials(indexes, (*known.extra, known.main, *base.extra, base.main, *extra))
    unique = attrs.evolve(
        indexes,
        hidden=tuple(hidden.items()),
        extra=tuple(url for url in dict.fromkeys(indexes.extra) if url and url != indexes.main),
        find_links=tuple(dict.fromkeys(indexes.find_links)),
        trusted=tuple(dict.fromkeys(indexes.trusted)),
    )
    return Options(unique, tuple(dict.fromkeys(flags)), tuple(notes))


def _adding(indexes: Indexes, name: str, value: str, folder: Path | None) -> Indexes:
    """``indexes`` with what an option adds to them."""
    added: dict[str, Any] = {
        "--extra-index-url": {"extra": (*indexes.extra, value)},
        "--find-links": {"find_links": (*indexes.find_links, _link(value, folder))},
        "--trusted-host": {"trusted": (*indexes.trusted, value)},
        "--no-index": {"none": True},
        "--cert": {"certificate": value},
        "--proxy": {"proxy": value},
        "--timeout": {"timeout": value},
        "--default-timeout": {"timeout": value},
    }
    return attrs.evolve(indexes, **added[name])


def _with_credentials(indexes: Indexes, configured: Iterable[str]) -> Indexes:
    """An index that a list names without credentials gets those that the configuration has for it.

    So does the list of a task that has been written back, which has lost them.
    """
    known = {bare: url for url in configured if (bare := without_secrets(url)) != url}
    if not known:
        return indexes
    return attrs.evolve(
        indexes,
        main=known.get(indexes.main, indexes.main),
        extra=tuple(known.get(url, url) for url in indexes.extra),
    )


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
