"""The workers that the server knows: registered or seen reporting, and not silent for too long."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import QUEUES
from clearml_agent_clone.server.faults import no_such_queue
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Document

DEFAULT_TIMEOUT = 600


def known(call: Call, worker: str) -> Document | None:
    """The worker's record, also when it has been silent for too long."""
    row = call.db.execute("SELECT doc FROM workers WHERE id = ?", (worker,)).fetchone()
    return json.loads(row[0]) if row else None


def alive(call: Call, last_seen: float = 0) -> list[Document]:
    """The workers that have not expired, or, with ``last_seen`` seconds, those seen since; by id."""
    now = call.now.timestamp()
    rows = call.db.execute("SELECT doc FROM workers WHERE expires > ? ORDER BY id", (now,))
    found = [json.loads(row[0]) for row in rows]
    if not last_seen:
        return found
    oldest = fields.stamp(fields.from_epoch(max(0.0, now - last_seen)))
    return [worker for worker in found if worker["last_activity_time"] >= oldest]


def register(call: Call, worker: str, body: fields.Body) -> Document:
    """Enter ``worker`` with the queues it listens to. Raises ``ApiFault`` 400/701 for a queue that does not exist."""
    queues = fields.texts(body, "queues")
    for queue in queues:
        if not QUEUES.exists(call.db, queue):
            raise no_such_queue(queue)
    now = fields.stamp(call.now)
    document = {
        "id": worker,
        "key": f"worker_{call.user.company}_{call.user.user}_{worker}",
        "ip": call.ip,
        "queues": queues,
        "tags": fields.texts(body, "tags"),
        "system_tags": fields.texts(body, "system_tags"),
        "register_time": now,
        "register_timeout": fields.integer(body, "timeout", DEFAULT_TIMEOUT) or DEFAULT_TIMEOUT,
        "last_activity_time": now,
        "last_report_time": now,
    }
    save(call, document)
    return document


def save(call: Call, document: Document) -> None:
    """Store the record; its time to live begins anew."""
    expires = call.now.timestamp() + document["register_timeout"]
    row = (document["id"], json.dumps(document, separators=(",", ":")), expires)
    call.db.execute("INSERT OR REPLACE INTO workers VALUES (?, ?, ?)", row)


def unregister(call: Call, worker: str) -> None:
    """Forget ``worker``; no matter whether it was known."""
    call.db.execute("DELETE FROM workers WHERE id = ?", (worker,))


def add_samples(call: Call, worker: str, stats: fields.Body, *, active: bool) -> None:
    """Keep what ``worker`` measured: numbers, or lists of them (one per core or device)."""
    at = call.now.timestamp()
    rows = [(worker, at, "active", "", float(active))]
    rows += [(worker, at, metric, variant, value) for metric, variant, value in _numbers(stats)]
    call.db.executemany("INSERT INTO worker_samples VALUES (?, ?, ?, ?, ?)", rows)


def _numbers(stats: fields.Body) -> Iterable[tuple[str, str, float]]:
    for metric, value in stats.items():
        values: list[Any] = value if isinstance(value, list) else [value]
        for number, one in enumerate(values):
            if isinstance(one, int | float) and not isinstance(one, bool):
                yield metric, str(number) if isinstance(value, list) else "", float(one)
