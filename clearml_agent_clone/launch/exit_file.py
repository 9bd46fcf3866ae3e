"""Where the exit code of the user's process is written down, for whoever asks, whenever they ask."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

_WIDTH = 12


@attrs.frozen
class ExitFile:
    """A file that holds an exit code, or nothing yet.

    It has its full size from the beginning and is written in place, so that a full disk cannot keep the code out.
    """

    path: Path

    def create(self) -> int:
        """Make it, empty of meaning; returns a descriptor to write the code to."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not os.fstat(handle).st_size:
            os.pwrite(handle, b" " * (_WIDTH - 1) + b"\n", 0)
        return handle

    def read(self) -> int | None:
        """The exit code (negative: ended by that signal), None while there is none."""
        try:
            text = self.path.read_bytes()
        except OSError:
            return None
        try:
            return int(text) if text.endswith(b"\n") else None
        except ValueError:
            return None


def write_code(handle: int, code: int) -> None:
    """Write ``code`` to a descriptor that ``ExitFile.create`` returned."""
    os.pwrite(handle, b"%*d\n" % (_WIDTH - 1, code), 0)
