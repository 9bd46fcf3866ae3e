"""The check of a configuration against the table of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from clearml_agent_clone.config.masking import mask_urls
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.schema import Key, rows
from clearml_agent_clone.config.settings_agent import AgentSettings
from clearml_agent_clone.config.settings_api import ApiSettings
from clearml_agent_clone.config.trees import Origin, find
from clearml_agent_clone.config.unused_keys import UNUSED_KEYS

SECTIONS = ("api", "agent", "sdk", "environment", "files", "logging", "env")
"""The top-level sections; only ``api`` and ``agent`` are checked key by key."""


@cache
def known_keys() -> dict[str, Key]:
    """Every key of the table by its dotted path, in the order of the documentation."""
    declared = (row for settings_class in (ApiSettings, AgentSettings) for row in rows(settings_class))
    return {row.path: row for row in (*declared, *UNUSED_KEYS)}


@cache
def _parents() -> frozenset[str]:
    found = {"agent", "api"}
    for path in known_keys():
        parts = path.split(".")
        found.update(".".join(parts[:count]) for count in range(1, len(parts)))
    return frozenset(found)


def check(
    tree: Mapping[str, Any], environ: Mapping[str, str], origin: Callable[[str], Origin]
) -> tuple[dict[str, Any], list[Problem]]:
    """The typed values of the known keys in ``tree``, and what is wrong with the rest.

    A value of the wrong kind is left out, so that its default holds.
    """
    problems = list(_unknown(tree, origin))
    values: dict[str, Any] = {}
    missing = object()
    for path, row in known_keys().items():
        value = find(tree, path, missing)
        if value is missing or (value is None and row.default is not None and not _accepts_none(row, environ)):
            continue  # null means "as if it were not there"
        try:
            values[path] = row.kind.parse(value, environ)
        except ValueError as error:
            shown = "a secret value" if row.secret else _shown(value)
            problems.append(
                Problem.at(origin(path), path, f"{error}, found {shown}", f"The default is used: {_shown(row.default)}")
            )
    return values, problems


def is_known(path: str) -> bool:
    """Whether ``path`` is a key of the table, or lies in the free-form value of one."""
    parts = path.split(".")
    return any(".".join(parts[:count]) in known_keys() for count in range(len(parts), 0, -1))


def resembles_secret(path: str) -> bool:
    """Whether an unknown key is probably a misspelt name of a secret one, so that its value is better not shown."""
    from difflib import SequenceMatcher  # noqa: PLC0415 - only a misspelt key pays for it

    name = path.rpartition(".")[2].lower()
    secrets = (row.path.rpartition(".")[2] for row in known_keys().values() if row.secret)
    return any(SequenceMatcher(None, name, secret).ratio() > 0.8 for secret in secrets)


def _accepts_none(row: Key, environ: Mapping[str, str]) -> bool:
    try:
        return row.kind.parse(None, environ) is None
    except ValueError:
        return False


def _unknown(tree: Mapping[str, Any], origin: Callable[[str], Origin]) -> Iterator[Problem]:
    for section, content in tree.items():
        if section not in SECTIONS:
            yield Problem.at(origin(section), section, "unknown section", _suggest(section, SECTIONS))
        elif section in ("api", "agent"):
            yield from _unknown_below(section, content, origin)


def _unknown_below(path: str, content: Any, origin: Callable[[str], Origin]) -> Iterator[Problem]:
    if not isinstance(content, Mapping):
        if content is not None:
            yield Problem.at(origin(path), path, f"expected an object {{ … }}, found {_shown(content)}")
        return
    for name, value in content.items():
        below = f"{path}.{name}"
        if below in known_keys():
            continue
        if below in _parents():
            yield from _unknown_below(below, value, origin)
        else:
            yield Problem.at(origin(below), below, "unknown key", _nearest_key(below))


def _nearest_key(path: str) -> str:
    """A suggestion: a key of the same section first, else the same name in another section."""
    above, _, name = path.rpartition(".")
    candidates = [*known_keys(), *_parents()]
    siblings = {known.rpartition(".")[2]: known for known in candidates if known.rpartition(".")[0] == above}
    suggestion = _suggest(name, siblings)
    if suggestion:
        return suggestion
    elsewhere = [known for known in candidates if known.rpartition(".")[2] == name]
    return _suggest(path, elsewhere or candidates)


def _suggest(name: str, known: Iterable[str]) -> str:
    from clearml_agent_clone.util.names import did_you_mean  # noqa: PLC0415 - only a misspelt key pays for it

    return did_you_mean(name, known)


def _shown(value: Any) -> str:
    text = mask_urls(f'"{value}"' if isinstance(value, str) else str(value))
    return text if len(text) <= 60 else text[:57] + "…"
