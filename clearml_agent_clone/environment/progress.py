"""Tell a task's console now and then what a long installation is doing, as uv prints nothing of it by itself."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from clearml_agent_clone.util.process import Console

_BEGUN = re.compile(rb"^\s*(Downloading|Building|Updating|Fetching) (\S+)(?: (\([^)]*\)))?\s*$")
_DONE = re.compile(rb"^\s*(Downloaded|Built|Updated|Fetched) (\S+)(?: \([^)]*\))?\s*$")
_KIND = {b"Downloaded": "downloading", b"Built": "building", b"Updated": "updating", b"Fetched": "fetching"}
_SHOWN = 3
_BLINK = 0.5
# From which second on how long at least between two lines: an hour of compiling is no reason for 700 of them.
_PAUSES = ((600.0, 60.0), (60.0, 15.0))


@attrs.define
class Progress:
    """A console in front of another: keeps back uv's lines about single packages and sums them up every few seconds.

    Args:
        console: the task's console.
        fetched: bytes that were fetched since the beginning; None where nobody can tell.
        every: seconds between two lines in the beginning.
        clock: seconds of a monotonic clock.
    """

    console: Console
    fetched: Callable[[], int] | None = None
    every: float = 5.0
    clock: Callable[[], float] = time.monotonic
    _begun: float = attrs.field(init=False)
    _said: float = attrs.field(init=False)
    _doing: dict[str, str] = attrs.field(init=False, factory=dict)
    _last: str = attrs.field(init=False, default="")
    _rest: bytes = attrs.field(init=False, default=b"")
    _lock: threading.Lock = attrs.field(init=False, factory=threading.Lock)

    def __attrs_post_init__(self) -> None:
        self._begun = self._said = self.clock()

    def say(self, text: str) -> None:
        self.console.say(text)
        self._said = self.clock()

    def write(self, data: bytes) -> None:
        with self._lock:
            *lines, self._rest = (self._rest + data).split(b"\n")
            shown = [line for line in lines if not self._noted(line)]
            if shown:
                self._pass_on(b"".join(line + b"\n" for line in shown))

    def tick(self) -> None:
        """Say something if it is time to."""
        now = self.clock()
        elapsed = now - self._begun
        with self._lock:
            pause = max(self.every, next((pause for start, pause in _PAUSES if elapsed >= start), 0.0))
            if now - self._said < pause:
                return
            if self._rest:  # a program that waits in the middle of a line, such as a question or a dot for each step
                data, self._rest = self._rest, b""
                self._pass_on(data)
            text = self._text(elapsed)
        self.say(text)

    def close(self) -> None:
        """Pass on what is left."""
        with self._lock:
            if self._rest and not self._noted(self._rest):
                self._pass_on(self._rest)
            self._rest = b""

    def _pass_on(self, data: bytes) -> None:
        self.console.write(data)
        self._said = self.clock()
        self._last = data.rstrip().rpartition(b"\n")[2].decode(errors="replace").strip()

    def _noted(self, line: bytes) -> bool:
        if begun := _BEGUN.match(line):
            kind, name = begun[1].decode().lower(), begun[2].decode(errors="replace")
            size = f" {begun[3].decode(errors='replace')}" if begun[3] else ""
            self._doing[f"{kind} {name}"] = size
            return True
        if done := _DONE.match(line):
            self._doing.pop(f"{_KIND[done[1]]} {done[2].decode(errors='replace')}", None)
            return True
        return False

    def _text(self, elapsed: float) -> str:
        parts = [f"Still installing: {_duration(elapsed)}"]
        fetched = self.fetched() if self.fetched is not None else 0
        if fetched >= 1_000_000:
            parts.append(f"{fetched / 1e6:.0f} MB fetched so far")
        if self._doing:
            names = [f"{what}{size}" for what, size in list(self._doing.items())[:_SHOWN]]
            more = len(self._doing) - len(names)
            parts.append(", ".join(names) + (f" and {more} more" if more else ""))
        elif self._last:
            parts.append(f"after: {self._last[:120]}")
        return "; ".join(parts)


@contextmanager
def ticking(progress: Progress) -> Iterator[Progress]:
    """Let ``progress`` speak while the block runs."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(min(_BLINK, progress.every / 2)):
            progress.tick()

    thread = threading.Thread(target=tick, name="install-progress", daemon=True)
    thread.start()
    try:
        yield progress
    finally:
        over.set()
        thread.join()
        progress.close()


def growth(cache: Path) -> Callable[[], int]:
    """How many bytes were added to uv's ``cache`` since now.

    Only folders that are younger are looked into: the cache may hold a million files.
    """
    begun = time.time() - 1.0

    def measure() -> int:
        return sum(_size(entry) for folder in _places(cache) for entry in _entries(folder) if _young(entry, begun))

    return measure


def _places(cache: Path) -> list[Path]:
    return [cache, *cache.glob("archive-v*")]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not re.match(r"[a-z]+-v\d+$", entry.name)]
    except OSError:
        return []


def _young(entry: os.DirEntry[str], begun: float) -> bool:
    try:
        return entry.stat(follow_symlinks=False).st_mtime >= begun
    except OSError:
        return False


def _size(entry: os.DirEntry[str]) -> int:
    try:
        if entry.is_dir(follow_symlinks=False):
            return sum(_size(inner) for inner in _entries(Path(entry.path)))
        return entry.stat(follow_symlinks=False).st_size
    except OSError:  # uv moves and removes files meanwhile
        return 0


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
