"""A console for tests."""

from __future__ import annotations


class Recorder:
    """A console that keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.raw = b""

    def say(self, text: str) -> None:
        self.lines.append(text)

    def write(self, data: bytes) -> None:
        self.raw += data

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + "\n" + self.raw.decode(errors="replace")
