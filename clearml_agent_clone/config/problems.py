"""What is wrong with a configuration, as values that can be printed."""

from __future__ import annotations

import re
from typing import Literal

import attrs

from clearml_agent_clone.config.trees import Origin

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@attrs.frozen
class Problem:
    """Something to tell the user about the configuration.

    Args:
        severity: a ``warning`` lets the agent go on with a default; an ``error`` will stop a command that needs the value.
        key: the dotted key, or the variable when it belongs to no key.
        file: where it stands: a path, the name of a variable, or ``command line``.
        line: the line in that file; None where there is none.
        message: what is wrong, without full stop.
        suggestion: what to do about it; may be empty.
    """

    severity: Literal["warning", "error"]
    key: str
    file: str
    line: int | None
    message: str
    suggestion: str = ""

    @classmethod
    def at(
        cls,
        origin: Origin,
        key: str,
        message: str,
        suggestion: str = "",
        *,
        severity: Literal["warning", "error"] = "warning",
    ) -> Problem:
        return cls(severity, key, origin.source, origin.line, message, suggestion)

    def __str__(self) -> str:
        """One line: place, key, message, suggestion."""
        place = str(Origin(self.file, self.line)) + ": " if self.file else ""
        if _VARIABLE.fullmatch(self.file):
            place = f"environment variable {place}"
        name = f"{self.key}: " if self.key and self.key != self.file else ""
        return f"{place}{name}{self.message}" + (f". {self.suggestion}" if self.suggestion else "")
