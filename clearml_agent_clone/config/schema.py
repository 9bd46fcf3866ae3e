"""The table of configuration keys, and how a settings class declares one.

A settings class is an attrs class whose fields are made by ``key`` or ``group``: the field is the typed value, its
metadata the row of the table. Defaults, the check for unknown keys, ``examples/clearml.conf`` and
``docs/configuration.md`` all follow from these rows, so a key is written down once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs

from clearml_agent_clone.config.kinds import Credential, Kind

T = TypeVar("T")
_METADATA = "clearml"


@attrs.frozen(eq=False)
class Key:
    """One row: a key of clearml.conf.

    Args:
        path: the dotted key as users write it.
        kind: what it may be.
        default: as it would stand in the file; None where the key is absent by default.
        help: one line.
        secret: its whole value must never be shown.
        embeds: its value may hold a secret somewhere inside, such as a password in a URL.
        own: the classic agent does not know it.
        unused: why the value has no effect here; empty for a key in use.
    """

    path: str
    kind: Kind[Any]
    default: Any
    help: str
    secret: bool = False
    embeds: bool = False
    own: bool = False
    unused: str = ""


class Section:
    """Base of settings classes. Equality and ``repr`` are made here once, because making them for each of so many
    fields would be felt at every start; ``repr`` leaves secrets out.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _fields_of(self) == _fields_of(other)

    def __hash__(self) -> int:
        return hash(repr(self))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value, secret in _fields_of(self) if not secret)
        return f"{type(self).__name__}({', '.join(shown)})"


def _fields_of(section: Section) -> list[tuple[str, Any, bool]]:
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(type(section))  # type: ignore[arg-type] # every subclass is an attrs class
    found = []
    for field in fields:
        row = field.metadata.get(_METADATA)
        found.append((field.name, getattr(section, field.name), isinstance(row, Key) and (row.secret or row.embeds)))
    return found


def key(
    path: str,
    kind: Kind[T],
    default: object,
    help: str,  # noqa: A002 - the table reads best so
    *,
    secret: bool = False,
    embeds: bool = False,
    own: bool = False,
    unused: str = "",
) -> T:
    """Declare a field of a settings class as the key ``path``.

    The return type is that of the value, so that the type checker compares annotation and kind.
    """
    row = Key(path, kind, default, help, secret=secret, embeds=embeds, own=own, unused=unused)
    default_ = attrs.Factory(_default_of(row)) if kind.surroundings else typed_default(row, {})
    made: Any = attrs.field(default=default_, metadata={_METADATA: row})
    field: T = made
    return field


def group(settings_class: Callable[[], T]) -> T:
    """Declare a field that holds further keys."""
    made: Any = attrs.field(factory=settings_class, metadata={_METADATA: settings_class})
    field: T = made
    return field


def rows(settings_class: type[Any]) -> Iterator[Key]:
    """Every key that ``settings_class`` and its groups declare, in the order of declaration."""
    for field in attrs.fields(settings_class):
        declared = field.metadata.get(_METADATA)
        if isinstance(declared, Key):
            yield declared
        elif declared is not None:
            yield from rows(declared)


def build(settings_class: type[Any], values: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    """A settings object with ``values`` (by dotted key, already typed) and defaults for the rest.

    Defaults are made here rather than by attrs, because ``~`` in them means the home of ``environ``.
    """
    arguments: dict[str, Any] = {}
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(settings_class)
    for field in fields:
        declared = field.metadata.get(_METADATA)
        if isinstance(declared, Key):
            known = declared.path in values
            arguments[field.name] = values[declared.path] if known else typed_default(declared, environ)
        elif declared is not None:
            arguments[field.name] = build(declared, values, environ)
    return settings_class(**arguments)


def typed_default(row: Key, environ: Mapping[str, str]) -> Any:
    """The default of ``row`` as Python value."""
    return row.kind.parse(row.default, environ)


def _default_of(row: Key) -> Callable[[], Any]:
    return lambda: typed_default(row, os.environ)


def typed_items(settings: Any) -> Iterator[tuple[Key, Any]]:
    """Every key of a settings object with its typed value."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(type(settings))
    for field in fields:
        declared = field.metadata.get(_METADATA)
        value = getattr(settings, field.name)
        if isinstance(declared, Key):
            yield declared, value
        elif declared is not None:
            yield from typed_items(value)


def plain(value: Any) -> Any:
    """A typed value as it would stand in a JSON file."""
    if isinstance(value, Credential):
        return {"host": value.host, "user": value.user, "pass": value.password}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
