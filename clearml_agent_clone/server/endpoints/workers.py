"""workers.*: who works for which queues."""

from __future__ import annotations

import fnmatch
from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields, queue_entries, workers
from clearml_agent_clone.server.documents import PROJECTS, QUEUES, TASKS
from clearml_agent_clone.server.faults import invalid
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.store import Collection, Document
from clearml_agent_clone.server.tasks.status import active_seconds, status_of

Body = dict[str, Any]
_FIRST_VERSION = "2.4"
_DEFAULT_LAST_SEEN = 3600
_AN_EPOCH = 1e9


@endpoint("workers.register", since=_FIRST_VERSION, writes=True)
def register(call: Call, body: Body) -> Body:
    workers.register(call, fields.required(body, "worker"), body)
    return {}


@endpoint("workers.unregister", since=_FIRST_VERSION, writes=True)
def unregister(call: Call, body: Body) -> Body:
    workers.unregister(call, fields.required(body, "worker"))
    return {}


@endpoint("workers.status_report", since=_FIRST_VERSION, writes=True)
def status_report(call: Call, body: Body) -> Body:
    key = fields.required(body, "worker")
    if body.get("timestamp") is None:
        raise invalid("timestamp", "Field is required")
    worker = workers.known(call, key) or workers.register(call, key, {})
    now = fields.stamp(call.now)
    worker.update(last_activity_time=now, last_report_time=now, ip=call.ip)
    for name in ("queues", "tags", "system_tags"):
        if body.get(name) is not None:
            worker[name] = fields.texts(body, name)
    task = fields.text(body, "task")
    worker["queue"] = fields.text(body, "queue")
    worker["task"] = task
    if task:
        found = TASKS.get(call.db, task, "id")
        running = status_of(found) is TaskStatus.IN_PROGRESS
        active = {"active_duration": active_seconds(call, found)} if running else {}
        TASKS.patch(call.db, task, {"last_worker": key, "last_worker_report": now, "last_update": now, **active})
    workers.save(call, worker)
    workers.add_samples(call, key, fields.mapping(body, "machine_stats"), active=bool(task))
    return {}


@endpoint("workers.get_all", since=_FIRST_VERSION)
def get_all(call: Call, body: Body) -> Body:
    return {"workers": [_shown(call, worker) for worker in _selected(call, body, _DEFAULT_LAST_SEEN)]}


@endpoint("workers.get_count", since="2.26")
def get_count(call: Call, body: Body) -> Body:
    return {"count": len(_selected(call, body, 0))}


@endpoint("workers.set_runtime_properties", since="2.10", writes=True)
def set_runtime_properties(call: Call, body: Body) -> Body:
    worker = fields.required(body, "worker")
    added = updated = 0
    for item in fields.items(body, "runtime_properties"):
        name = fields.required(item, "key")
        row = (worker, name, fields.text(item, "value"), _expires(call, item))
        known = call.db.execute("SELECT 1 FROM worker_properties WHERE worker = ? AND name = ?", row[:2]).fetchone()
        call.db.execute("INSERT OR REPLACE INTO worker_properties VALUES (?, ?, ?, ?)", row)
        added, updated = (added, updated + 1) if known else (added + 1, updated)
    return {"added": added, "updated": updated}


@endpoint("workers.get_runtime_properties", since="2.10")
def get_runtime_properties(call: Call, body: Body) -> Body:
    rows = call.db.execute(
        "SELECT name, value, expires FROM worker_properties WHERE worker = ? AND (expires IS NULL OR expires > ?)"
        " ORDER BY name",
        (fields.required(body, "worker"), call.now.timestamp()),
    )
    return {"runtime_properties": [{"key": name, "value": value, "expiry": expires} for name, value, expires in rows]}


def _expires(call: Call, item: fields.Body) -> float | None:
    """The moment a property ends: ``expiry`` is seconds from now, or, when it is large, since the epoch."""
    if item.get("expiry") is None:
        return None
    expiry = fields.number(item, "expiry")
    return expiry if expiry > _AN_EPOCH else call.now.timestamp() + expiry


def _selected(call: Call, body: fields.Body, last_seen: int) -> list[Document]:
    found = workers.alive(call, fields.number(body, "last_seen", last_seen))
    pattern = fields.text(body, "worker_pattern")
    if pattern:
        found = [worker for worker in found if fnmatch.fnmatchcase(worker["id"], pattern)]
    for name in ("tags", "system_tags"):
        wanted = fields.texts(body, name)
        has = {tag for tag in wanted if not tag.startswith("-")}
        lacks = {tag[1:] for tag in wanted if tag.startswith("-")}
        found = [
            worker
            for worker in found
            if (not has or has.intersection(worker[name])) and not lacks.intersection(worker[name])
        ]
    return found


def _shown(call: Call, worker: Document) -> Body:
    owner = call.state.auth.owner
    shown = {name: value for name, value in worker.items() if name not in ("task", "queue", "queues")}
    shown.update(
        user={"id": owner.user, "name": owner.user_name},
        company={"id": owner.company, "name": owner.company_name},
        queues=[_queue(call, queue) for queue in worker["queues"]],
    )
    if worker.get("queue"):
        shown["queue"] = _named(call, QUEUES, worker["queue"])
    task = TASKS.find(call.db, worker["task"], "id") if worker.get("task") else None
    if task is not None:
        running = task.get("active_duration") or 0
        started = fields.parse_stamp(task.get("started") or "")
        if started is not None:
            running = max(running, int((call.now - started).total_seconds()))
        shown["task"] = {
            "id": task["id"],
            "name": task["name"],
            "running_time": running * 1000,
            "last_iteration": task.get("last_iteration", 0),
        }
        if task.get("project"):
            shown["project"] = _named(call, PROJECTS, task["project"])
    return shown


def _queue(call: Call, queue: str) -> Body:
    shown = {**_named(call, QUEUES, queue), "num_tasks": queue_entries.length(call.db, queue)}
    waiting = queue_entries.entries(call.db, queue, 1)
    if waiting:
        shown["next_task"] = _named(call, TASKS, waiting[0]["task"])
    return shown


def _named(call: Call, collection: Collection, key: str) -> Body:
    found = collection.find(call.db, key, "id")
    return {"id": key, "name": found["name"] if found else ""}
