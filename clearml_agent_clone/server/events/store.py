"""Events in the database: writing, deleting, and turning rows back into what a client gets.

Every function takes a connection from ``Database.write`` or ``Database.read``; the caller owns the transaction.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

LOG = "log"
SCALAR = "training_stats_scalar"
VECTOR = "training_stats_vector"
IMAGE = "training_debug_image"
PLOT = "plot"
TYPES = frozenset({LOG, SCALAR, VECTOR, IMAGE, PLOT})

SINGLE_VALUE = -(2**31)
"""The iteration that marks a value reported once for the whole task."""

LOG_COLUMNS = "seq, timestamp, received, level, worker, msg, metric, variant, extra"
POINT_COLUMNS = "seq, type, metric, variant, iter, key, timestamp, received, worker, value, extra"


class LogRow(NamedTuple):
    """Console text on its way into the database. A tuple, because many thousands of them go straight to SQLite."""

    owner: str
    timestamp: int
    received: int
    level: str
    worker: str
    msg: str
    metric: str = ""
    variant: str = ""
    extra: str | None = None


class PointRow(NamedTuple):
    """A scalar, vector, plot or debug image on its way into the database; ``value`` is set for scalars only."""

    owner: str
    type: str
    metric: str
    variant: str
    iter: int
    key: str
    timestamp: int
    received: int
    worker: str
    value: float | None = None
    extra: str | None = None


def add_logs(db: sqlite3.Connection, rows: Iterable[LogRow]) -> None:
    """Append console text in the order given."""
    db.executemany(
        "INSERT INTO log_events (owner, timestamp, received, level, worker, msg, metric, variant, extra)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def add_points(db: sqlite3.Connection, rows: Iterable[PointRow]) -> None:
    """Write points, each over an earlier one of the same place."""
    db.executemany(
        "INSERT INTO point_events (owner, type, metric, variant, iter, key, timestamp, received, worker, value, extra)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (owner, type, metric, variant, iter, key) DO UPDATE SET timestamp = excluded.timestamp,"
        " received = excluded.received, worker = excluded.worker, value = excluded.value, extra = excluded.extra",
        rows,
    )


def delete_task_events(db: sqlite3.Connection, task_id: str) -> int:
    """Delete everything that was reported for a task or model; returns how many events that were."""
    logs = db.execute("DELETE FROM log_events WHERE owner = ?", (task_id,)).rowcount
    return logs + db.execute("DELETE FROM point_events WHERE owner = ?", (task_id,)).rowcount


def log_event(owner: str, row: tuple[Any, ...]) -> dict[str, Any]:
    """The event of a row of ``LOG_COLUMNS``."""
    _, timestamp, received, level, worker, msg, metric, variant, extra = row
    event = {
        "timestamp": timestamp,
        "type": LOG,
        "task": owner,
        "level": level,
        "worker": worker,
        "msg": msg,
        "@timestamp": iso_time(received),
        "metric": metric,
        "variant": variant,
    }
    return {**json.loads(extra), **event} if extra else event


def point_event(owner: str, row: tuple[Any, ...]) -> dict[str, Any]:
    """The event of a row of ``POINT_COLUMNS``."""
    _, kind, metric, variant, iteration, key, timestamp, received, worker, value, extra = row
    event = {
        "timestamp": timestamp,
        "type": kind,
        "task": owner,
        "iter": iteration,
        "metric": metric,
        "variant": variant,
        "worker": worker,
        "@timestamp": iso_time(received),
    }
    if kind == SCALAR:
        event["value"] = value
    if key:
        event["key"] = key
    return {**json.loads(extra), **event} if extra else event


def iso_time(milliseconds: int) -> str:
    """A time as the server writes it into events, such as ``2026-11-20T19:50:31.013Z``; empty beyond the calendar."""
    try:
        moment = dt.datetime.fromtimestamp(milliseconds / 1000, dt.timezone.utc)
    except (OverflowError, ValueError, OSError):
        return ""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{milliseconds % 1000:03d}Z"
