"""SQLite: one writer at a time, readers beside it, nothing acknowledged before it is on disk."""

from __future__ import annotations

import contextlib
import functools
import re
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.server.schema import migrate

_BUSY_TIMEOUT = 10.0
_CACHE_KIB = 16 * 1024


class Database:
    """The server's database. ``write`` and ``read`` may be used from any thread.

    WAL lets readers go on with their snapshot while one transaction writes. A lock of our own, not SQLite's busy
    handler, lines the writers up: waiting for it is fair and costs no polling.
    """

    def __init__(self, path: Path, *, synchronous: str = "FULL") -> None:
        self._path = path
        self._synchronous = synchronous
        self._lock = threading.Lock()
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False
        try:
            path.touch(mode=0o600)
            self._writer = self._connect()
            self._writer.execute("PRAGMA journal_mode=WAL")
            migrate(self._writer)
        except (OSError, sqlite3.DatabaseError) as error:
            raise UserError(
                f"cannot use the database {path}: {error}",
                remedy="Check the folder's owner and free space, or choose another --data folder",
                code="data-unusable",
            ) from error

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may change things: committed when the block ends, rolled back when it raises."""
        with self._lock:
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:  # whatever happened, the next writer must find no half transaction
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A snapshot; trying to change something through it raises ``sqlite3.OperationalError``."""
        try:
            db = self._idle.pop()
        except IndexError:
            db = self._connect()
            db.execute("PRAGMA query_only=ON")
        db.execute("BEGIN")
        try:
            yield db
        finally:
            db.execute("ROLLBACK")
            if self._closed:
                db.close()
            else:
                self._idle.append(db)

    def close(self) -> None:
        """Close every connection; a reader that is still at work closes its own when it is done."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()
        with self._lock:
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT, cached_statements=512
        )
        db.execute(f"PRAGMA synchronous={self._synchronous}")
        db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        db.execute("PRAGMA temp_store=MEMORY")
        db.create_function("REGEXP", 2, _matches, deterministic=True)
        db.create_function("IREGEXP", 2, _matches_any_case, deterministic=True)
        return db


@functools.lru_cache(maxsize=256)
def compiled(pattern: str, *, any_case: bool = False) -> re.Pattern[str]:
    """``pattern`` as a regular expression. Raises ``re.error``."""
    return re.compile(pattern, re.IGNORECASE if any_case else 0)


def _matches(pattern: str, value: object) -> bool:
    return value is not None and compiled(pattern).search(str(value)) is not None


def _matches_any_case(pattern: str, value: object) -> bool:
    return value is not None and compiled(pattern, any_case=True).search(str(value)) is not None
