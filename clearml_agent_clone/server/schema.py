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
    """
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY, doc TEXT NOT NULL,
        name TEXT AS (json_extract(doc, '$.name')), status TEXT AS (json_extract(doc, '$.status')),
        project TEXT AS (json_extract(doc, '$.project')), parent TEXT AS (json_extract(doc, '$.parent')),
        type TEXT AS (json_extract(doc, '$.type')), user TEXT AS (json_extract(doc, '$.user')),
        created TEXT AS (json_extract(doc, '$.created')), last_update TEXT AS (json_extract(doc, '$.last_update'))
    );
    CREATE INDEX tasks_status ON tasks (status);
    CREATE INDEX tasks_project ON tasks (project);
    CREATE INDEX tasks_parent ON tasks (parent);
    CREATE INDEX tasks_last_update ON tasks (last_update);
    CREATE TABLE tasks_parts (id TEXT NOT NULL, part TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (id, part));
    CREATE TABLE models (
        id TEXT PRIMARY KEY, doc TEXT NOT NULL,
        name TEXT AS (json_extract(doc, '$.name')), project TEXT AS (json_extract(doc, '$.project')),
        task TEXT AS (json_extract(doc, '$.task')), uri TEXT AS (json_extract(doc, '$.uri')),
        created TEXT AS (json_extract(doc, '$.created')), last_update TEXT AS (json_extract(doc, '$.last_update'))
    );
    CREATE INDEX models_project ON models (project);
    CREATE INDEX models_task ON models (task);
    CREATE INDEX models_uri ON models (uri);
    CREATE TABLE projects (
        id TEXT PRIMARY KEY, doc TEXT NOT NULL,
        name TEXT AS (json_extract(doc, '$.name')), parent TEXT AS (json_extract(doc, '$.parent')),
        created TEXT AS (json_extract(doc, '$.created')), last_update TEXT AS (json_extract(doc, '$.last_update'))
    );
    CREATE UNIQUE INDEX projects_name ON projects (name);
    CREATE INDEX projects_parent ON projects (parent);
    CREATE TABLE queues (
        id TEXT PRIMARY KEY, doc TEXT NOT NULL, name TEXT AS (json_extract(doc, '$.name')),
        created TEXT AS (json_extract(doc, '$.created')), last_update TEXT AS (json_extract(doc, '$.last_update'))
    );
    CREATE UNIQUE INDEX queues_name ON queues (name);
    CREATE TABLE queue_entries (
        queue TEXT NOT NULL, task TEXT NOT NULL, position INTEGER NOT NULL, added TEXT NOT NULL,
        PRIMARY KEY (queue, task)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX queue_entries_position ON queue_entries (queue, position);
    CREATE INDEX queue_entries_task ON queue_entries (task);
    CREATE TABLE claims (
        claim TEXT PRIMARY KEY, queue TEXT NOT NULL, task TEXT NOT NULL, added TEXT NOT NULL, made REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX claims_made ON claims (made);
    CREATE TABLE queue_samples (
        queue TEXT NOT NULL, at REAL NOT NULL, length INTEGER NOT NULL, waited REAL NOT NULL
    );
    CREATE INDEX queue_samples_at ON queue_samples (queue, at);
    CREATE TABLE workers (id TEXT PRIMARY KEY, doc TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE worker_properties (
        worker TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, expires REAL, PRIMARY KEY (worker, name)
    ) WITHOUT ROWID;
    CREATE TABLE worker_samples (
        worker TEXT NOT NULL, at REAL NOT NULL, metric TEXT NOT NULL, variant TEXT NOT NULL, value REAL NOT NULL
    );
    CREATE INDEX worker_samples_at ON worker_samples (at);
    CREATE INDEX worker_samples_worker ON worker_samples (worker, metric, at);
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
