"""Query arguments and form fields as fields of a body."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

_INTEGER = re.compile(r"-?\d{1,18}\Z")
_DECIMAL = re.compile(r"-?\d+\.\d+\Z")


def parse_arguments(query: str) -> dict[str, Any]:
    """The fields that ``a=1&b.c=true&d[]=x`` means: numbers and booleans are converted, a dot nests, ``[]`` or a
    repeated key makes a list.
    """
    values: dict[str, list[Any]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        values.setdefault(key, []).append(_convert(value))
    fields: dict[str, Any] = {}
    for key, found in values.items():
        is_list = key.endswith("[]") or len(found) > 1
        _nest(fields, key.removesuffix("[]").split("."), found if is_list else found[0])
    return fields


def _nest(fields: dict[str, Any], path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = fields.get(name)
        if not isinstance(inner, dict):
            inner = fields[name] = {}
        fields = inner
    fields[path[-1]] = value


def _convert(value: str) -> Any:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    if _INTEGER.match(value):
        return int(value)
    return float(value) if _DECIMAL.match(value) else value
