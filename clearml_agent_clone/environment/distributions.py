"""What is installed in a folder, from the few lines that say so: the whole of each description is slow to read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs


@attrs.frozen
class Distribution:
    """An installed package: its name and version, and its ``direct_url.json`` if it did not come from an index."""

    name: str
    version: str
    origin: str = ""


def installed_in(folders: Iterable[Path | str]) -> Iterator[Distribution]:
    """The packages in ``folders`` (``site-packages``), folder by folder, in no order within one."""
    for folder in dict.fromkeys(map(str, folders)):
        try:
            entries = list(os.scandir(folder))
        except OSError:  # an interpreter names folders that are not there
            continue
        for entry in entries:
            found = _read(entry)
            if found is not None:
                yield found


def _read(entry: os.DirEntry[str]) -> Distribution | None:
    if entry.name.endswith(".dist-info"):
        file = f"{entry.path}/METADATA"
    elif entry.name.endswith(".egg-info"):
        file = f"{entry.path}/PKG-INFO" if entry.is_dir() else entry.path
    elif entry.name.endswith(".egg") and entry.is_dir():
        file = f"{entry.path}/EGG-INFO/PKG-INFO"
    else:
        return None
    name = version = ""
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:  # noqa: PTH123 - one for each package
            for line in lines:
                key, _, value = line.partition(":")
                if key.lower() == "name":
                    name = value.strip()
                elif key.lower() == "version":
                    version = value.strip()
                if (name and version) or not line.strip():
                    break
    except OSError:
        return None
    return Distribution(name, version, _origin(f"{entry.path}/direct_url.json")) if name else None


def _origin(file: str) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as text:  # noqa: PTH123 - one for each package
            return text.read()
    except OSError:
        return ""
