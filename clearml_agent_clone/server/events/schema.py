"""The tables of the events, by version.

``owner`` is the id of the task or model that an event belongs to. Times are milliseconds since the epoch: ``timestamp``
is what the client says, ``received`` is ours. ``extra`` is JSON: the fields of an event that have no column.

Console text is appended and read in the order (timestamp, arrival). A point, which is any other event, replaces
the one with the same owner, type, metric, variant, iteration and key; so that key is unique.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE log_events (
        seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, timestamp INTEGER NOT NULL, received INTEGER NOT NULL,
        level TEXT NOT NULL, worker TEXT NOT NULL, msg TEXT NOT NULL,
        metric TEXT NOT NULL, variant TEXT NOT NULL, extra TEXT
    );
    CREATE INDEX log_events_in_order ON log_events (owner, timestamp, seq);
    CREATE TABLE point_events (
        seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, type TEXT NOT NULL, metric TEXT NOT NULL, variant TEXT NOT NULL,
        iter INTEGER NOT NULL, key TEXT NOT NULL, timestamp INTEGER NOT NULL, received INTEGER NOT NULL,
        worker TEXT NOT NULL, value REAL, extra TEXT,
        UNIQUE (owner, type, metric, variant, iter, key)
    );
    CREATE INDEX point_events_in_order ON point_events (owner, timestamp, seq);
    """,
)
"""One SQL script per version, oldest first; a script that was released is never changed."""
