"""The tasks that wait in queues, in order."""

from __future__ import annotations

import sqlite3
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import QUEUES
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call


def entries(db: sqlite3.Connection, queue: str, limit: int = -1) -> list[dict[str, Any]]:
    """The entries of ``queue``, the next to run first; at most ``limit`` when it is not negative."""
    rows = db.execute("SELECT task, added FROM queue_entries WHERE queue = ? ORDER BY position LIMIT ?", (queue, limit))
    return [{"task": task, "added": added} for task, added in rows]


def length(db: sqlite3.Connection, queue: str) -> int:
    return int(db.execute("SELECT COUNT(*) FROM queue_entries WHERE queue = ?", (queue,)).fetchone()[0])


def contains(db: sqlite3.Connection, queue: str, task: str) -> bool:
    row = db.execute("SELECT 1 FROM queue_entries WHERE queue = ? AND task = ?", (queue, task)).fetchone()
    return row is not None


def append(call: Call, queue: str, task: str) -> None:
    """Put ``task`` at the end of ``queue`` and wake who waits there. Raises ``ApiFault`` 400/706 if it is in it."""
    if contains(call.db, queue, task):
        raise ApiFault(400, 706, f"Task already queued: task={task}, queue={queue}")
    _, last = _ends(call.db, queue)
    _insert(call, queue, task, last + 1, fields.stamp(call.now))


def put_back(call: Call, queue: str, task: str, added: str) -> None:
    """Put ``task`` at the head of ``queue``, as if it had never been taken."""
    if not contains(call.db, queue, task):
        first, _ = _ends(call.db, queue)
        _insert(call, queue, task, first - 1, added)


def pop(call: Call, queue: str) -> dict[str, Any] | None:
    """Take the next entry out of ``queue``; None when it is empty."""
    row = call.db.execute(
        "SELECT task, added FROM queue_entries WHERE queue = ? ORDER BY position LIMIT 1", (queue,)
    ).fetchone()
    if row is None:
        return None
    task, added = row
    call.db.execute("DELETE FROM queue_entries WHERE queue = ? AND task = ?", (queue, task))
    _sample(call, queue, added)
    _touch(call, queue)
    return {"task": task, "added": added}


def remove(call: Call, task: str, queue: str = "") -> list[str]:
    """Take ``task`` out of ``queue``, or out of every queue; the queues it was in."""
    rows = call.db.execute(
        "SELECT queue, added FROM queue_entries WHERE task = ? AND (? = '' OR queue = ?)", (task, queue, queue)
    ).fetchall()
    for found, added in rows:
        call.db.execute("DELETE FROM queue_entries WHERE queue = ? AND task = ?", (found, task))
        _sample(call, found, added)
        _touch(call, found)
    return [found for found, _ in rows]


def position(db: sqlite3.Connection, queue: str, task: str) -> int:
    """The place of ``task`` in ``queue``, from 0. Raises ``ApiFault`` 400/703 when it is not in it."""
    row = db.execute(
        "SELECT (SELECT COUNT(*) FROM queue_entries AS before WHERE before.queue = mine.queue"
        " AND before.position < mine.position) FROM queue_entries AS mine WHERE queue = ? AND task = ?",
        (queue, task),
    ).fetchone()
    if row is None:
        raise ApiFault(400, 703, f"Invalid task id: task={task} is not in queue={queue}")
    return int(row[0])


def move(call: Call, queue: str, task: str, place: int) -> int:
    """Move ``task`` to ``place`` (from 0, cut to the queue's length); the place it has then."""
    position(call.db, queue, task)
    order = [entry["task"] for entry in entries(call.db, queue) if entry["task"] != task]
    place = max(0, min(place, len(order)))
    order.insert(place, task)
    _, last = _ends(call.db, queue)
    # Positions are unique at every step, so the new ones start beyond the old ones.
    call.db.executemany(
        "UPDATE queue_entries SET position = ? WHERE queue = ? AND task = ?",
        [(last + 1 + number, queue, one) for number, one in enumerate(order)],
    )
    _touch(call, queue)
    return place


def _ends(db: sqlite3.Connection, queue: str) -> tuple[int, int]:
    row = db.execute("SELECT MIN(position), MAX(position) FROM queue_entries WHERE queue = ?", (queue,)).fetchone()
    return (0, -1) if row[0] is None else (row[0], row[1])


def _insert(call: Call, queue: str, task: str, place: int, added: str) -> None:
    call.db.execute("DELETE FROM claims WHERE task = ?", (task,))  # it waits again: who claimed it has given it up
    call.db.execute("INSERT INTO queue_entries VALUES (?, ?, ?, ?)", (queue, task, place, added))
    _touch(call, queue)
    call.after_commit(lambda: call.state.arrivals.announce(queue))


def _touch(call: Call, queue: str) -> None:
    QUEUES.patch(call.db, queue, {"last_update": fields.stamp(call.now)})


def _sample(call: Call, queue: str, added: str) -> None:
    since = fields.parse_stamp(added)
    waited = (call.now - since).total_seconds() if since else 0.0
    row = (queue, call.now.timestamp(), length(call.db, queue), max(0.0, waited))
    call.db.execute("INSERT INTO queue_samples VALUES (?, ?, ?, ?)", row)
