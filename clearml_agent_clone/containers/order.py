"""What the helper in a container (``inside/run.py``) is told on its standard input.

It is kept in memory on its way: no file of this machine, no command line and no image ever holds it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.containers.scripts import ScriptFile

HELPER = Path(__file__).parent / "inside" / "run.py"
"""The helper. Whoever mounts it copies it first: the folder that it is installed in may not be there for the engine."""

HELPER_INSIDE = "/.clearml.run/helper.py"
CONSOLE_INSIDE = "/.clearml.run/console"
CODE_INSIDE = "/clearml"
"""Where the container sees the folder with the task's code. Not below the home of root, where another user could not go."""


@attrs.frozen
class SecretFile:
    """A file that is written inside, for the container's user alone; ``variables`` are set to its path."""

    name: str
    text: str = attrs.field(repr=False)
    variables: tuple[str, ...]


@attrs.frozen
class Order:
    """One start.

    Args:
        argv: the task's command; it becomes this program.
        cwd: its folder, as the container sees it.
        console: the file that takes stdout and stderr; empty leaves them as they are.
        variables: set before the scripts run.
        task_variables: set after them.
        defaults: set unless the image, or a script, has them.
        in_front, behind: folders put in front of, or after, what such a variable has when the scripts are done.
        removed: variables of the image that the task must not see.
        scripts: shell scripts to run first.
        files: see ``SecretFile``.
        copies: folders to copy, source and target; ``~`` is the home of the container's user.
    """

    argv: tuple[str, ...]
    cwd: str
    console: str = CONSOLE_INSIDE
    variables: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    task_variables: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    defaults: Mapping[str, str] = attrs.Factory(dict)
    in_front: Mapping[str, Sequence[str]] = attrs.Factory(dict)
    behind: Mapping[str, Sequence[str]] = attrs.Factory(dict)
    removed: tuple[str, ...] = ()
    scripts: tuple[ScriptFile, ...] = ()
    files: tuple[SecretFile, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """As the helper reads it."""
        record = {
            "argv": self.argv,
            "cwd": self.cwd,
            "console": self.console,
            "variables": dict(self.variables),
            "task_variables": dict(self.task_variables),
            "defaults": dict(self.defaults),
            "in_front": {name: list(folders) for name, folders in self.in_front.items()},
            "behind": {name: list(folders) for name, folders in self.behind.items()},
            "removed": self.removed,
            "scripts": [{"name": one.name, "text": one.text, "origin": one.origin} for one in self.scripts],
            "files": [
                {"name": one.name, "text": one.text, "variable": one.variables[0], "twins": one.variables[1:]}
                for one in self.files
            ],
            "copies": self.copies,
        }
        return json.dumps(record).encode()

    def open(self) -> int:
        """A descriptor to read the order from, at its beginning; the caller closes it."""
        handle = os.memfd_create("clearml-order", os.MFD_CLOEXEC)
        with os.fdopen(handle, "wb", closefd=False) as file:
            file.write(self.to_bytes())
        os.lseek(handle, 0, os.SEEK_SET)
        return handle
