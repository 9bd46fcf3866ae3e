"""``CLEARML_AGENT__AGENT__A__B=value``: any key of the configuration, set from the environment.

The value is JSON where it can be read as JSON, else a number or boolean as HOCON writes them, else the text as it
stands. So a password with ``@``, ``,`` or ``$`` needs no quoting, and one that looks like a number can be quoted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from clearml_agent_clone.config.known import known_keys
from clearml_agent_clone.config.trees import Layer, Tree, put
from clearml_agent_clone.errors import UserError

PREFIX = "CLEARML_AGENT__"
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d+)?")
_SUBSTITUTION = re.compile(r"\$\{(?P<optional>\?)?(?P<name>[^}]+)\}")


def layer(environ: Mapping[str, str]) -> Layer:
    """The keys that variables with the prefix set, in the order of their names.

    Raises:
        UserError: a value begins like JSON and is neither JSON nor HOCON, or names a variable that is not set.
    """
    tree: Tree = {}
    sources: dict[str, str] = {}
    for name in sorted(name for name in environ if name.startswith(PREFIX)):
        path = key_of(name)
        if not all(path.split(".")):
            raise UserError(
                f"environment variable {name} names no configuration key",
                remedy=f"Write it as {PREFIX}AGENT__ and the key, its parts joined by two underscores",
                code="bad-variable",
            )
        put(tree, path, value_of(name, environ[name], environ))
        sources[path] = name
    return Layer(tree, "environment", sources=sources)


def key_of(name: str) -> str:
    """The dotted key that the variable ``name`` sets."""
    return name.removeprefix(PREFIX).replace("__", ".").lower()


def value_of(name: str, text: str, environ: Mapping[str, str]) -> Any:
    """What the variable ``name`` with the value ``text`` means."""
    text = text.strip()
    if text[:1] in ("{", "["):
        return _structure(name, text, environ)
    if text[:1] == '"':
        return _quoted(name, text)
    scalar = _scalar(text)
    row = known_keys().get(key_of(name))
    if row is not None and row.kind.textual and not isinstance(scalar, str | None):
        return text  # a version such as 3.10, a password such as 007: as written
    return _substitute(name, text, environ) if isinstance(scalar, str) else scalar


def _structure(name: str, text: str, environ: Mapping[str, str]) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse)
    except ValueError:
        pass
    from clearml_agent_clone.config.hocon import parse_text  # noqa: PLC0415 - most values are JSON

    try:
        return parse_text(f"value: {text}\n", name, environ=environ).tree["value"]
    except UserError:
        _fail(name, f"cannot be read as JSON, although it begins with {text[0]}")


def _quoted(name: str, text: str) -> str:
    try:
        value = json.loads(text, strict=False)
    except ValueError:
        _fail(name, 'cannot be read as JSON, although it begins with "')
    return str(value)


def _scalar(text: str) -> Any:
    """A number, boolean or null, or the text itself."""
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def _substitute(name: str, text: str, environ: Mapping[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        found = environ.get(match["name"])
        if found is None and not match["optional"]:
            _fail(name, f"names the variable {match['name']}, which is not set")
        return found or ""

    return _SUBSTITUTION.sub(replace, text)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _fail(name: str, reason: str) -> NoReturn:
    # The value itself may be a secret, so it is not repeated.
    raise UserError(
        f"environment variable {name} {reason}",
        remedy="Write the value as JSON, with text in double quotes",
        code="bad-variable",
    ) from None
