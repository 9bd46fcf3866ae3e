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
            yield from _entry(f"{json.dumps(str(name), ensure_ascii=False)}:", item, indent_lists=False)
    elif isinstance(value, list | tuple) and value:
        for item in value:
            yield from _entry("-", item, indent_lists=True)
    else:
        yield json.dumps(value, ensure_ascii=False)


def _entry(head: str, item: Any, *, indent_lists: bool) -> Iterator[str]:
    """``head`` with a scalar behind it, or with a block below it."""
    if not isinstance(item, Mapping | list | tuple) or not item:
        yield f"{head} {json.dumps(item, ensure_ascii=False)}"
        return
    yield head
    step = "  " if indent_lists or isinstance(item, Mapping) else ""
    for line in _lines(item):
        yield step + line
