"""Nested plain dicts, which is what configuration is until it has been checked, and where their values came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

Tree = dict[str, Any]


@attrs.frozen
class Origin:
    """Where a value came from.

    Args:
        source: a file's path, a variable's name, or words such as ``default`` and ``command line``.
        line: the line in that file, counted from 1; None where there is none.
    """

    source: str
    line: int | None = None

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


DEFAULT = Origin("default")
COMMAND_LINE = Origin("command line")


@attrs.frozen
class Layer:
    """Values from one source, to be laid over those of lower layers.

    Args:
        tree: the values.
        source: names the source in origins.
        lines: dotted key to line, as far as known.
        sources: dotted key to the name of its own source, where the layer has several.
    """

    tree: Tree
    source: str = ""
    lines: Mapping[str, int] = attrs.Factory(dict)
    sources: Mapping[str, str] = attrs.Factory(dict)

    def origin(self, path: str) -> Origin:
        """Where ``path`` came from. An object has the place of its first key, a value without a line that of the
        nearest key above it.
        """
        if path not in self.lines and path not in self.sources:
            below = [known for known in (*self.lines, *self.sources) if known.startswith(f"{path}.")]
            path = min(below, key=lambda known: self.lines.get(known, 0), default=path)
        while path:
            if path in self.lines or path in self.sources:
                return Origin(self.sources.get(path, self.source), self.lines.get(path))
            path = path.rpartition(".")[0]
        return Origin(self.source)


def merge(base: Tree, over: Mapping[str, Any]) -> Tree:
    """``over`` laid on ``base``: objects are merged, everything else is replaced. Neither is changed, nor shares objects with the result."""
    merged = dict(base)
    for name, value in over.items():
        if isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key with its value; lists and empty objects count as values."""
    for name, value in tree.items():
        path = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, path)
        else:
            yield path, value


def put(tree: Tree, path: str, value: Any) -> None:
    """Set the dotted key ``path``; an object is merged with what is there."""
    *parents, name = path.split(".")
    for parent in parents:
        below = tree.get(parent)
        if not isinstance(below, dict):
            below = tree[parent] = {}
        tree = below
    below = tree.get(name)
    tree[name] = merge(below, value) if isinstance(value, Mapping) and isinstance(below, dict) else value


def find(tree: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """The value of the dotted key ``path``, or ``default``."""
    value: Any = tree
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return default
        value = value[name]
    return value


def drop(tree: Tree, path: str) -> None:
    """Remove the dotted key ``path`` if it is there."""
    above, _, name = path.rpartition(".")
    parent = find(tree, above) if above else tree
    if isinstance(parent, dict):
        parent.pop(name, None)
