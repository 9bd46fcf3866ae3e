"""The database's tables, made and migrated by version.

Each component counts its own versions: version n is the state after its first n scripts. A database that a newer
server has written is refused, because an older one would damage it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.server.events.schema import MIGRATIONS as EVENTS

LAYOUT = 1
"""``PRAGMA user_version``: how versions themselves are kept."""

CORE: tuple[str, ...] = (
    """
    CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE credentials (
        access_key TEXT PRIMARY KEY, secret_hash TEXT NOT NULL, user TEXT NOT NULL, label TEXT NOT NULL DEFAULT '',
        created TEXT NOT NULL, last_used TEXT, last_used_from TEXT, revoked INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE TABLE revoked_sessions (session TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
    """,
)

MIGRATIONS: Mapping[str, Sequence[str]] = {"core": CORE, "events": EVENTS}
"""Scripts by component, applied in this order."""


def migrate(db: sqlite3.Connection, migrations: Mapping[str, Sequence[str]] = MIGRATIONS) -> None:
    """Bring the database to the newest version, each script in a transaction of its own.

    Raises:
        UserError: a newer server has written the database.
    """
    layout = db.execute("PRAGMA user_version").fetchone()[0]
    if layout > LAYOUT:
        raise _too_new("layout", layout, LAYOUT)
    if layout < LAYOUT:
        db.executescript(
            "BEGIN IMMEDIATE;"
            "CREATE TABLE IF NOT EXISTS schema_versions (component TEXT PRIMARY KEY, version INTEGER NOT NULL);"
            f"PRAGMA user_version={LAYOUT}; COMMIT;"
        )
    versions: dict[str, int] = dict(db.execute("SELECT component, version FROM schema_versions"))
    for component, scripts in migrations.items():
        done = versions.get(component, 0)
        if done > len(scripts):
            raise _too_new(component, done, len(scripts))
        for version in range(done + 1, len(scripts) + 1):
            _apply(db, component, version, scripts[version - 1])


def _apply(db: sqlite3.Connection, component: str, version: int, script: str) -> None:
    try:
        db.executescript(f"BEGIN IMMEDIATE; {script};")
        db.execute("INSERT OR REPLACE INTO schema_versions VALUES (?, ?)", (component, version))
        db.execute("COMMIT")
    except sqlite3.Error:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _too_new(component: str, found: int, known: int) -> UserError:
    return UserError(
        f"the data folder was written by a newer server ({component} version {found}, this one knows {known})",
        remedy="Use that version of the server, or another --data folder",
        code="data-too-new",
    )
