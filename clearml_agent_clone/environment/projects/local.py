"""The packages that live in the checkout: the project itself, its workspace, its path dependencies.

An environment that is kept must not lead into one task's checkout. So these packages are left out of it, and what is
left out is written down beside it; each task gets them in a layer of its own (``layer.py``).
"""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from clearml_agent_clone.util.files import read_json, write_json

_FILE = "local.json"


@attrs.frozen
class Local:
    """A package in the checkout: its ``name``, and its ``place`` relative to the project's folder."""

    name: str
    place: str

    @classmethod
    def at(cls, name: str, folder: Path, project: Path) -> Local:
        return cls(name, os.path.relpath(folder.resolve(), project.resolve()))


def write_local(environment: Path, packages: list[Local]) -> None:
    """Note beside ``environment`` what it lacks."""
    write_json(environment.parent / _FILE, [attrs.asdict(package) for package in packages], durable=False)


def read_local(environment: Path) -> list[Local]:
    """What ``environment`` lacks."""
    found = read_json(environment.parent / _FILE)
    items = found if isinstance(found, list) else []
    return [Local(str(item["name"]), str(item["place"])) for item in items]
