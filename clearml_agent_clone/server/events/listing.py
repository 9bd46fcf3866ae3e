"""Events page by page, in the order (time, arrival) or against it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import attrs

from clearml_agent_clone.server.events.selection import EVERYTHING, Selection
from clearml_agent_clone.server.events.store import LOG, LOG_COLUMNS, POINT_COLUMNS, log_event, point_event


@attrs.frozen
class _Table:
    """One of the two tables; ``number`` decides between events of the same time."""

    name: str
    number: int
    columns: str
    time_column: int
    as_event: Callable[[str, tuple[Any, ...]], dict[str, Any]]

    @property
    def index(self) -> str:
        # Named, because without statistics SQLite may prefer the unique index and sort a whole task for one page.
        return f"{self.name} INDEXED BY {self.name}_in_order"


_LOGS = _Table("log_events", 0, LOG_COLUMNS, 1, log_event)
_POINTS = _Table("point_events", 1, POINT_COLUMNS, 6, point_event)


@attrs.frozen(order=True)
class Place:
    """Where an event sorts: its time, console text before points, its arrival."""

    timestamp: int
    table: int
    seq: int

    @classmethod
    def read(cls, at: Any) -> Place:
        """The place that ``write`` wrote. Raises ``ValueError`` for anything else."""
        if not isinstance(at, list) or len(at) != 3 or not all(isinstance(part, int) for part in at):
            raise ValueError("not a place")
        return cls(*at)

    def write(self) -> list[int]:
        return [self.timestamp, self.table, self.seq]


@attrs.frozen
class Listed:
    """An event with its place."""

    place: Place
    event: dict[str, Any]


@attrs.frozen
class Query:
    """Which events of one owner, and in which order; ``kind`` empty means all types."""

    owner: str
    kind: str = ""
    selection: Selection = EVERYTHING
    descending: bool = False

    @property
    def tables(self) -> list[tuple[_Table, str]]:
        """The tables to look into, each with the type to look for in it."""
        logs = [(_LOGS, "")] if self.kind in ("", LOG) else []
        return logs + ([(_POINTS, self.kind)] if self.kind != LOG else [])

    def condition(self, kind: str) -> tuple[str, list[Any]]:
        """The SQL that picks the query's events, and the values for its marks."""
        typed, values = (" AND type = ?", [kind]) if kind else ("", [])
        return f"owner = ?{typed}{self.selection.sql}", [self.owner, *values, *self.selection.values]


def page(db: sqlite3.Connection, query: Query, size: int, after: Place | None = None) -> list[Listed]:
    """Up to ``size`` events that follow ``after`` in the order of the query."""
    found: list[Listed] = []
    for table, kind in query.tables:
        where, values = query.condition(kind)
        way, order = _directions(query)
        if after is not None:
            where += f" AND (timestamp, ?, seq) {way} (?, ?, ?)"
            values += [table.number, *after.write()]
        sql = (
            f"SELECT {table.columns} FROM {table.index} WHERE {where}"  # noqa: S608 - the parts are ours
            f" ORDER BY timestamp {order}, seq {order} LIMIT ?"
        )
        found += _listed(query, table, db.execute(sql, [*values, size]))
    found.sort(key=lambda listed: listed.place, reverse=query.descending)
    return found[:size]


def same_time(db: sqlite3.Connection, query: Query, place: Place) -> list[Listed]:
    """The console text with the very time of ``place`` that follows it in the order of the query."""
    where, values = query.condition("")
    way, order = _directions(query)
    sql = (
        f"SELECT {LOG_COLUMNS} FROM {_LOGS.index} WHERE {where}"  # noqa: S608 - the parts are ours
        f" AND timestamp = ? AND seq {way} ? ORDER BY seq {order}"
    )
    return _listed(query, _LOGS, db.execute(sql, [*values, place.timestamp, place.seq]))


def count(db: sqlite3.Connection, query: Query) -> int:
    """How many events the query has on all its pages."""
    total = 0
    for table, kind in query.tables:
        where, values = query.condition(kind)
        sql = f"SELECT COUNT(*) FROM {table.name} WHERE {where}"  # noqa: S608 - the parts are ours
        total += db.execute(sql, values).fetchone()[0]
    return total


def _directions(query: Query) -> tuple[str, str]:
    return ("<", "DESC") if query.descending else (">", "ASC")


def _listed(query: Query, table: _Table, rows: sqlite3.Cursor) -> list[Listed]:
    return [
        Listed(Place(row[table.time_column], table.number, row[0]), table.as_event(query.owner, row)) for row in rows
    ]
