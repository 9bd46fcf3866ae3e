"""Looking for secrets while something works: in what processes show of themselves, and in files that others can read."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs


@attrs.define
class Seen:
    """What there was to see: processes as command line and environment, and private files that were not private."""

    processes: set[tuple[bytes, bytes]] = attrs.Factory(set)
    readable: set[str] = attrs.Factory(set)

    def showing(self, *words: str) -> set[str]:
        """Command lines of processes that show one of ``words`` there or in their environment."""
        return {
            command.replace(b"\0", b" ").decode(errors="replace")
            for command, environ in self.processes
            for word in words
            if word.encode() in command + environ
        }


@contextlib.contextmanager
def watching(*folders: Path) -> Iterator[Seen]:
    """Look all the time, at all processes but our own and at the private files of git below ``folders``."""
    stop, seen = threading.Event(), Seen()
    watcher = threading.Thread(target=_watch, args=(stop, folders, seen))
    watcher.start()
    try:
        yield seen
    finally:
        stop.set()
        watcher.join()


def _watch(stop: threading.Event, folders: tuple[Path, ...], seen: Seen) -> None:
    own = str(os.getpid())
    while not stop.is_set():
        for process in Path("/proc").iterdir():
            if process.name.isdigit() and process.name != own:
                with contextlib.suppress(OSError):
                    seen.processes.add(((process / "cmdline").read_bytes(), (process / "environ").read_bytes()))
        for folder in folders:
            with contextlib.suppress(OSError):  # they come and go while we look
                for path in folder.rglob("*.git-access-*/*"):
                    if path.stat().st_mode & 0o077 or path.parent.stat().st_mode & 0o077:
                        seen.readable.add(str(path))
        stop.wait(0.002)


def files_with(folder: Path, *words: str) -> list[Path]:
    """Files below ``folder`` that hold one of ``words``."""
    secrets = [word.encode() for word in words]
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and any(secret in path.read_bytes() for secret in secrets)
    ]
