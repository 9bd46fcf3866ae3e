"""What the server is told at its start."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import attrs

API_VERSION = "2.34"
"""The level of the API that the server speaks."""

SERVER_VERSION = "2.3.0"
"""The server version announced to clients; the SDK switches features on by it."""

SERVER_BUILD = "embedded"

EXTENSIONS: tuple[str, ...] = ("queues.get_next_task.wait", "queues.get_next_task.claim")
"""What this server can beyond the API; announced in the token and in ``server.info``."""


def utc_now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


@attrs.frozen
class ServerConfig:
    """Where the server keeps its data and how it listens.

    A port of 0 takes any free one. Times are seconds: ``watchdog_period`` between two looks of the watchdog,
    ``task_silence`` after which a running task that nobody reports on is stopped.
    """

    data: Path
    host: str = "127.0.0.1"
    api_port: int = 8008
    web_port: int = 8080
    files_port: int = 8081
    watchdog_period: float = 900.0
    task_silence: float = 7200.0
    clock: Callable[[], dt.datetime] = utc_now
    extensions: tuple[str, ...] = EXTENSIONS
    """What is announced; with none, clients take it for the common server."""
    synchronous: str = "FULL"
    """SQLite's ``synchronous``. FULL: an answer also survives a power cut (measured: 0.15 ms more per write)."""

    @property
    def database(self) -> Path:
        return self.data / "server.db"

    @property
    def files_dir(self) -> Path:
        return self.data / "files"
