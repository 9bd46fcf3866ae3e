"""What a configuration value may be: one ``Kind`` per sort of value, which checks it and gives it its Python type.

A kind is lenient where the meaning is beyond doubt (``"10"`` for a number, ``yes`` for a switch) and otherwise
raises ``ValueError`` with what was expected; who calls it knows the key, the file and the line.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import attrs

T = TypeVar("T")

_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})
_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)
_UNITS = {"": 1, "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400}
_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[^}]+)\}|(?P<bare>[A-Za-z_][A-Za-z0-9_]*))")


@attrs.frozen(eq=False)
class Kind(Generic[T]):
    """A sort of value.

    Args:
        name: how the documentation and messages call it, such as ``text`` or ``yes or no``.
        parse: the typed value of what stands in a file or variable; raises ``ValueError`` saying what was
            expected. The mapping is the process environment, for ``~`` and ``$NAME`` in paths.
        textual: a number here is meant as written (``3.10`` is not ``3.1``).
        surroundings: the value depends on the environment (a home directory), or can be changed, so that no
            default may be made beforehand.
    """

    name: str
    parse: Callable[[Any, Mapping[str, str]], T]
    textual: bool = False
    surroundings: bool = False


@attrs.frozen
class Credential:
    """User and password for one host; an empty host means every host."""

    user: str = ""
    password: str = attrs.field(default="", repr=False)
    host: str = ""


def expand_path(text: str, environ: Mapping[str, str]) -> Path:
    """``text`` with ``~`` and known ``$NAME`` or ``${NAME}`` replaced, as an absolute path."""

    def value_of(match: re.Match[str]) -> str:
        return environ.get(match["braced"] or match["bare"], match[0])

    expanded = _VARIABLE.sub(value_of, text)
    if expanded == "~" or expanded.startswith("~/"):
        expanded = str(home(environ)) + expanded[1:]
    return Path(os.path.abspath(os.path.expanduser(expanded)))  # noqa: PTH100, PTH111 - ~user, and no symlink is followed


def home(environ: Mapping[str, str]) -> Path:
    """The home directory as ``environ`` has it."""
    return Path(environ.get("HOME") or Path.home())


def to_switch(value: object) -> bool:
    """A boolean, also as the words people write: yes, no, on, off, 1, 0.

    Raises:
        ValueError: it is none of them.
    """
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if isinstance(value, int | str) and word in _TRUE:
        return True
    if isinstance(value, int | str) and word in _FALSE:
        return False
    raise ValueError("expected true or false")


def _text(value: Any, _environ: Mapping[str, str]) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | list | Mapping):
        raise ValueError("expected text")  # noqa: TRY004 - one error type for "not of this kind"
    return str(value)


def _switch(value: Any, _environ: Mapping[str, str]) -> bool:
    return to_switch(value)


def _number(value: Any, _environ: Mapping[str, str]) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError("expected a number")
    return number


def _whole(value: Any, environ: Mapping[str, str]) -> int:
    try:
        number = _number(value, environ)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise ValueError("expected a whole number")
    return int(number)


def _seconds(value: Any, environ: Mapping[str, str]) -> float:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match:
        unit = match["unit"].lower()
        scale = _UNITS.get(unit) or _UNITS.get(unit.removesuffix("s"))
        if scale:
            return float(match["count"]) * scale
        raise ValueError("expected a number of seconds")
    number = _number(value, environ)
    if number < 0:
        raise ValueError("expected a number of seconds, not below 0")
    return number


def _path(value: Any, environ: Mapping[str, str]) -> Path:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("expected a path")
    return expand_path(value.strip(), environ)


def _words(value: Any, _environ: Mapping[str, str]) -> tuple[str, ...]:
    items = value if isinstance(value, list | tuple) else [] if value is None or value == "" else [value]
    if isinstance(value, bool | Mapping) or any(isinstance(item, bool | list | Mapping) for item in items):
        raise ValueError("expected a list of texts")
    return tuple(str(item) for item in items if item is not None and str(item) != "")


def _tree(value: Any, _environ: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("expected an object { … }")  # noqa: TRY004 - one error type for "not of this kind"
    return {str(key): item for key, item in value.items()}


def _names(value: Any, environ: Mapping[str, str]) -> dict[str, str]:
    return {key: _text(item, environ) for key, item in _tree(value, environ).items()}


def _objects(value: Any, environ: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list | tuple):
        raise ValueError("expected a list of objects [ { … } ]")  # noqa: TRY004 - one error type for "not of this kind"
    return tuple(_tree(item, environ) for item in value)


def _credentials(value: Any, environ: Mapping[str, str]) -> tuple[Credential, ...]:
    known = {"user", "pass", "host"}
    found = []
    for item in _objects(value, environ):
        if not known >= set(item):
            raise ValueError("expected a list of { host, user, pass }")
        parts = {name: _text(item.get(name), environ) for name in known}
        found.append(Credential(user=parts["user"], password=parts["pass"], host=parts["host"]))
    return tuple(found)


def _port_range(value: Any, environ: Mapping[str, str]) -> tuple[int, int] | None:
    if value is None or value in ("", []):
        return None
    ports = [_whole(item, environ) for item in value] if isinstance(value, list | tuple) else []
    if len(ports) != 2 or not 0 < ports[0] <= ports[1] < 65536:
        raise ValueError("expected [lowest port, highest port]")
    return ports[0], ports[1]


def _verify(value: Any, environ: Mapping[str, str]) -> bool | Path:
    try:
        return to_switch(value)
    except ValueError:
        if isinstance(value, str) and value.strip():
            return expand_path(value.strip(), environ)
        raise ValueError("expected true, false or the path of a CA bundle") from None


def _connect_retries(value: Any, environ: Mapping[str, str]) -> int:
    """The classic variable is a switch or a count: true means a few, false means as many as for any other call."""
    try:
        count = _whole(value, environ)
    except ValueError:
        return 4 if to_switch(value) else 240
    if count < 0:
        raise ValueError("expected a count, true or false")
    return count


def choice(*options: str) -> Kind[str]:
    """One of ``options``, in any case."""

    def parse(value: Any, _environ: Mapping[str, str]) -> str:
        word = "none" if value is None and "none" in options else str(value).strip().lower()
        if word not in options:
            raise ValueError("expected " + ", ".join(options[:-1]) + f" or {options[-1]}")
        return word

    return Kind(" | ".join(option for option in options if option), parse)


def optional(kind: Kind[T], *, empty_too: bool = True) -> Kind[T | None]:
    """``kind``, or None for null (and for empty text)."""

    def parse(value: Any, environ: Mapping[str, str]) -> T | None:
        return None if value is None or (empty_too and value == "") else kind.parse(value, environ)

    return Kind(kind.name, parse, textual=kind.textual, surroundings=kind.surroundings)


TEXT: Kind[str] = Kind("text", _text, textual=True)
SWITCH: Kind[bool] = Kind("true or false", _switch)
WHOLE: Kind[int] = Kind("whole number", _whole)
NUMBER: Kind[float] = Kind("number", _number)
SECONDS: Kind[float] = Kind("seconds", _seconds)
PATH: Kind[Path] = Kind("path", _path, surroundings=True)
WORDS: Kind[tuple[str, ...]] = Kind("list of texts", _words, textual=True)
TREE: Kind[Mapping[str, Any]] = Kind("object", _tree, surroundings=True)
NAMES: Kind[Mapping[str, str]] = Kind("object of texts", _names, surroundings=True)
OBJECTS: Kind[tuple[Mapping[str, Any], ...]] = Kind("list of objects", _objects, surroundings=True)
CREDENTIALS: Kind[tuple[Credential, ...]] = Kind("list of { host, user, pass }", _credentials)
PORT_RANGE: Kind[tuple[int, int] | None] = Kind("[lowest, highest]", _port_range)
VERIFY: Kind[bool | Path] = Kind("true, false or path", _verify)
CONNECT_RETRIES: Kind[int] = Kind("whole number, true or false", _connect_retries)
MAYBE_SWITCH: Kind[bool | None] = optional(SWITCH)
MAYBE_WHOLE: Kind[int | None] = optional(WHOLE)
MAYBE_NUMBER: Kind[float | None] = optional(NUMBER)
MAYBE_SECONDS: Kind[float | None] = optional(SECONDS)
MAYBE_PATH: Kind[Path | None] = optional(PATH)
