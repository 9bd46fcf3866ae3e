"""The ``environment`` and ``files`` sections: variables to set and files to write before work begins."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class EnvironmentSection:
    """Variables to set, in the order of the file. Values may be secret."""

    variables: Mapping[str, str] = attrs.field(factory=dict, repr=False)


@attrs.frozen
class FileEntry:
    """A file to write.

    Args:
        name: the entry's name in the section.
        path: where to; absolute.
        contents: what.
        mode: permissions; None leaves those of an existing file, and gives a new one 0600.
        overwrite: replace a file that is there.
    """

    name: str
    path: Path
    contents: bytes = attrs.field(repr=False)
    mode: int | None = None
    overwrite: bool = True


@attrs.frozen
class FilesSection:
    """Files to write."""

    entries: tuple[FileEntry, ...] = ()


def apply_environment(section: EnvironmentSection, environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Set the section's variables in ``environ`` and return their names."""
    environ.update(section.variables)
    return tuple(section.variables)


def parse_environment(content: Any) -> EnvironmentSection:
    """The section as it stands in the configuration."""
    if not isinstance(content, Mapping):
        return EnvironmentSection()
    return EnvironmentSection({str(k): "" if v is None else str(v) for k, v in content.items()})
