"""YAML for plain values, as far as the ``files`` section needs it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


def to_yaml(value: Any) -> str:
    """``value`` as block-style YAML. Text is always quoted, so that ``no`` stays text."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _entry(f"{_scalar(str(name))}:", item, indent_lists=False)
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _entry("-", item, indent_lists=True)
    else:
        yield _scalar(value)


def _entry(head: str, item: Any, *, indent_lists: bool) -> Iterator[str]:
    """``head`` with a scalar behind it, or with a block below it."""
    if not isinstance(item, Mapping | list | tuple) or not item:
        yield f"{head} {_scalar(item)}"
        return
    yield head
    step = "  " if indent_lists or isinstance(item, Mapping) else ""
    for line in _lines(item):
        yield step + line


def _scalar(value: Any) -> str:
    """JSON, which YAML understands, but for the escapes of characters that YAML does not allow as they are."""
    if not isinstance(value, str):
        return json.dumps(value)
    plain = json.dumps(value, ensure_ascii=False)
    return "".join(sign if sign.isprintable() else f"\\U{ord(sign):08x}" for sign in plain)
