"""JSON lines: cut to the size that a server takes, and the answers put together again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def pieces(lines: Sequence[bytes], limit: int) -> Iterator[Sequence[bytes]]:
    """``lines`` in order, in runs that joined by line breaks have at most ``limit`` bytes; a longer line goes alone."""
    begin = size = 0
    for index, line in enumerate(lines):
        if size and size + len(line) > limit:
            yield lines[begin:index]
            begin, size = index, 0
        size += len(line) + 1
    if begin < len(lines):
        yield lines[begin:]


def add_up(total: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add the numbers of ``more`` to those of ``total``, in nested objects too; for the rest ``more`` wins."""
    for name, value in more.items():
        known = total.get(name)
        if isinstance(value, Mapping):
            inner = known if isinstance(known, dict) else {}
            add_up(inner, value)
            total[name] = inner
        elif _is_number(value) and _is_number(known):
            total[name] = known + value
        else:
            total[name] = value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
