r"""Carriage returns and backspaces: what a terminal would show at the end, not every step on the way there.

A progress bar redraws its line with ``\r`` or ``\b``. On the server each step would be a line of its own, so of such
a line only the last state is kept. The same goes for a bar below another one, as far as its states come together.
ANSI colours and other escape sequences pass untouched.
"""

from __future__ import annotations

import re

_LINE_END = re.compile(r"\r+\n")
_SUPERSEDED = re.compile(r"^[^\n]*\r", re.MULTILINE)
_UP = "\x1b[A"
_DRAWN_OVER = re.compile(r"^[^\n]*\x1b\[A\n(?=\r)", re.MULTILINE)
_STRUCK_LINE = re.compile(r"^[^\n\x08]*\x08[^\n]*", re.MULTILINE)
_STRIKES = re.compile(r"(\x08+)")


class Fold:
    r"""How the lines of a console are told apart and folded.

    Args:
        keep_last_state: True (``agent.suppress_carriage_return``) keeps only the last state of a line with ``\r``;
            False makes every ``\r`` a line end, so that all states are kept. ``\r\n`` is a line end either way.
    """

    def __init__(self, *, keep_last_state: bool = True) -> None:
        self._keep_last_state = keep_last_state

    def complete(self, data: bytes) -> int:
        """How many bytes at the start of ``data`` are complete lines."""
        end = data.rfind(b"\n") + 1
        if self._keep_last_state:
            return end
        # The very last byte does not count: if it is a carriage return, a newline may follow and belong to it.
        return max(end, data.rfind(b"\r", 0, max(len(data) - 1, 0)) + 1)

    def first(self, data: bytes) -> int:
        """How many bytes the first line in ``data`` has; 0 when it is not complete."""
        end = data.find(b"\n") + 1
        return end if self._keep_last_state else self.complete(data[:end])

    def line_ends(self, text: str) -> str:
        r"""``text`` with every line end as ``\n``."""
        if self._keep_last_state or "\r" not in text:
            return text
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def lines(self, text: str) -> str:
        """Complete lines, each in its last state. ``text`` has gone through ``line_ends``."""
        if "\x1b" in text and _UP in text:
            # Nested bars: up a line, down again, to the beginning of the line, and drawn over.
            text = _DRAWN_OVER.sub("", text)
        if "\r" in text:
            text = _SUPERSEDED.sub("", _LINE_END.sub("\n", text))
        if "\b" in text:
            text = _STRUCK_LINE.sub(lambda match: _overstrike(match[0]), text)
        return text

    def unfinished(self, text: str) -> tuple[int, str]:
        """One line that has no end yet: where in ``text`` its present state begins, and that state."""
        body = text.rstrip("\r")
        start = body.rfind("\r") + 1
        return start, _overstrike(body[start:])


def _overstrike(line: str) -> str:
    """``line`` after its backspaces: each moves back by one place, and what follows is written over."""
    if "\b" not in line:
        return line
    cells: list[str] = []
    at = 0
    for part in _STRIKES.split(line):
        if part.startswith("\b"):
            at = max(0, at - len(part))
        else:
            cells[at : at + len(part)] = part
            at += len(part)
    return "".join(cells)
