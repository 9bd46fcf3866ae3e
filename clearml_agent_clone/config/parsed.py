"""What a configuration file says, however it was read: parsed just now, or remembered from last time."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from clearml_agent_clone.config.trees import Layer, Tree

Stamp = tuple[int, int, int]
"""Modification time (ns), size and inode: enough to notice that a file was written or replaced."""


def stamp_of(path: Path) -> Stamp | None:
    """The stamp of a file; None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - on the way of every start and every reload
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@attrs.define
class Parsed:
    """The content of a configuration file.

    Args:
        tree: its values, as JSON could hold them.
        lines: dotted key to line.
        sources: dotted key to the file it stands in, for keys of included files.
        files: the included files, those that do not exist too.
        variables: environment variables that were looked up, with what was found.
        missing: included files that are not there, with the line that names them.
        repeatable: the same files and variables will always give the same values; false when a URL is included.
    """

    tree: Tree
    lines: dict[str, int] = attrs.Factory(dict)
    sources: dict[str, str] = attrs.Factory(dict)
    files: list[Path] = attrs.Factory(list)
    variables: dict[str, str | None] = attrs.Factory(dict)
    missing: list[tuple[int, str]] = attrs.Factory(list)
    repeatable: bool = True

    def layer(self, source: Path) -> Layer:
        """The values as a layer of the configuration."""
        return Layer(self.tree, str(source), self.lines, self.sources)
