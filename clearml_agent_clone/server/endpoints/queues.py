"""queues.*: the queues and what waits in them."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields, queue_entries
from clearml_agent_clone.server.documents import QUEUES, TASKS
from clearml_agent_clone.server.faults import ApiFault, refused_value
from clearml_agent_clone.server.listing import get_all
from clearml_agent_clone.server.metadata import metadata, with_metadata, without_metadata
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.store import Document
from clearml_agent_clone.server.tasks import queueing, shape
from clearml_agent_clone.server.tasks.status import status_of, touched

Body = dict[str, Any]
_FIRST_VERSION = "2.4"
_SHORTEST_NAME = 1


@endpoint("queues.create", since=_FIRST_VERSION, writes=True)
def create(call: Call, body: Body) -> Body:
    fields.required(body, "name")
    return {"id": queueing.create_queue(call, _given(call, body))}


@endpoint("queues.update", since=_FIRST_VERSION, writes=True)
def update(call: Call, body: Body) -> Body:
    queue = _queue(call, body)
    found = _given(call, body, queue["id"])
    if not found:
        return {"updated": 0, "fields": {}}
    changes = {**found, "last_update": fields.stamp(call.now)}
    QUEUES.patch(call.db, queue["id"], changes)
    return {"updated": 1, "fields": changes}


@endpoint("queues.delete", since=_FIRST_VERSION, writes=True)
def delete(call: Call, body: Body) -> Body:
    queue = _queue(call, body)
    waiting = [entry["task"] for entry in queue_entries.entries(call.db, queue["id"])]
    if waiting and not fields.flag(body, "force"):
        raise ApiFault(400, 702, f"Queue is not empty: id={queue['id']}")
    for task in waiting:
        _take_out(call, queue["id"], task)
    QUEUES.delete(call.db, queue["id"])
    call.db.execute("DELETE FROM queue_samples WHERE queue = ?", (queue["id"],))
    call.after_commit(lambda: call.state.arrivals.announce(queue["id"]))  # who waits there must be told that it is gone
    return {"deleted": 1}


@endpoint("queues.get_by_id", since=_FIRST_VERSION)
def get_by_id(call: Call, body: Body) -> Body:
    queue = _queue(call, body)
    return {"queue": _filled(call, queue, fields.integer(body, "max_task_entries", -1))}


@endpoint("queues.get_default", since=_FIRST_VERSION)
def get_default(call: Call, _body: Body) -> Body:
    queue = queueing.default_queue(call)
    return {"id": queue["id"], "name": queue["name"]}


@endpoint("queues.get_all", since=_FIRST_VERSION)
def get_all_queues(call: Call, body: Body) -> Body:
    return _listing(call, body, expanded=False)


@endpoint("queues.get_all_ex", since=_FIRST_VERSION)
def get_all_ex(call: Call, body: Body) -> Body:
    reply = _listing(call, body, expanded=True)
    for queue in reply["queues"]:
        for entry in queue.get("entries", []):
            task = TASKS.find(call.db, entry["task"], "id")
            entry["task"] = {"id": entry["task"], "name": task["name"] if task else ""}
        queue["workers"] = _workers(call, queue["id"])
    return reply


@endpoint("queues.get_num_entries", since="2.15")
def get_num_entries(call: Call, body: Body) -> Body:
    return {"num": queue_entries.length(call.db, _queue(call, body)["id"])}


@endpoint("queues.peek_task", since="2.15")
def peek_task(call: Call, body: Body) -> Body:
    waiting = queue_entries.entries(call.db, _queue(call, body)["id"], 1)
    return {"task": waiting[0]["task"]} if waiting else {}


@endpoint("queues.add_task", since=_FIRST_VERSION, writes=True)
def add_task(call: Call, body: Body) -> Body:
    queue, task = _queue(call, body)["id"], fields.required(body, "task")
    if not TASKS.exists(call.db, task):
        raise TASKS.missing(task)
    queue_entries.append(call, queue, task)
    if fields.flag(body, "update_execution_queue", default=True):
        TASKS.patch(call.db, task, {"execution.queue": queue})
    return {"added": 1}


@endpoint("queues.remove_task", since=_FIRST_VERSION, writes=True)
def remove_task(call: Call, body: Body) -> Body:
    queue, task = _queue(call, body)["id"], fields.required(body, "task")
    if not queue_entries.contains(call.db, queue, task):
        raise ApiFault(400, 703, f"Invalid task id: task={task} is not in queue={queue}")
    if fields.flag(body, "update_task_status"):
        _take_out(call, queue, task)
    else:
        queue_entries.remove(call, task, queue)
    return {"removed": 1}


@endpoint("queues.clear_queue", since="2.31", writes=True)
def clear_queue(call: Call, body: Body) -> Body:
    queue = _queue(call, body)["id"]
    waiting = [entry["task"] for entry in queue_entries.entries(call.db, queue)]
    for task in waiting:
        _take_out(call, queue, task)
    return {"removed_tasks": waiting}


@endpoint("queues.move_task_forward", since=_FIRST_VERSION, writes=True)
def move_task_forward(call: Call, body: Body) -> Body:
    return _moved(call, body, -fields.integer(body, "count", 1))


@endpoint("queues.move_task_backward", since=_FIRST_VERSION, writes=True)
def move_task_backward(call: Call, body: Body) -> Body:
    return _moved(call, body, fields.integer(body, "count", 1))


@endpoint("queues.move_task_to_front", since=_FIRST_VERSION, writes=True)
def move_task_to_front(call: Call, body: Body) -> Body:
    queue, task = _queue(call, body)["id"], fields.required(body, "task")
    return {"position": queue_entries.move(call, queue, task, 0)}


@endpoint("queues.move_task_to_back", since=_FIRST_VERSION, writes=True)
def move_task_to_back(call: Call, body: Body) -> Body:
    queue, task = _queue(call, body)["id"], fields.required(body, "task")
    return {"position": queue_entries.move(call, queue, task, queue_entries.length(call.db, queue))}


@endpoint("queues.add_or_update_metadata", since="2.13", writes=True)
def add_or_update_metadata(call: Call, body: Body) -> Body:
    queue = _queue(call, body)
    QUEUES.patch(call.db, queue["id"], {"metadata": with_metadata(queue, body)})
    return {"updated": 1}


@endpoint("queues.delete_metadata", since="2.13", writes=True)
def delete_metadata(call: Call, body: Body) -> Body:
    queue = _queue(call, body)
    QUEUES.patch(call.db, queue["id"], {"metadata": without_metadata(queue, body)})
    return {"updated": 1}


def _queue(call: Call, body: fields.Body) -> Document:
    return QUEUES.get(call.db, fields.required(body, "queue"))


def _given(call: Call, body: fields.Body, key: str = "") -> Body:
    found: Body = {}
    if body.get("name") is not None:
        name = found["name"] = fields.text(body, "name").strip()
        if len(name) < _SHORTEST_NAME:
            raise refused_value("queue name: empty")
        others = QUEUES.select(call.db, "WHERE name = ? AND id <> ?", (name, key))
        if others:
            raise ApiFault(
                400, 801, f"Value combination already exists (unique field already contains this value): name={name}"
            )
    for name in ("tags", "system_tags"):
        if body.get(name) is not None:
            found[name] = shape.unique(fields.texts(body, name))
    if body.get("display_name") is not None:
        found["display_name"] = fields.text(body, "display_name")
    if body.get("metadata") is not None:
        found["metadata"] = metadata(body["metadata"])
    return found


def _listing(call: Call, body: Body, *, expanded: bool) -> Body:
    wants_entries = _wants_entries(body)
    names = fields.texts(body, "only_fields")
    if names and wants_entries and "id" not in names:
        body = {**body, "only_fields": [*names, "id"]}
    listing = get_all(call, QUEUES, body, expanded=expanded)
    if wants_entries:
        limit = fields.integer(body, "max_task_entries", -1)
        for queue in listing.documents:
            _filled(call, queue, limit)
    return listing.reply("queues")


def _wants_entries(body: fields.Body) -> bool:
    names = fields.texts(body, "only_fields")
    wanted = [name for name in names if not name.startswith("-")]
    return any(name.startswith("entries") for name in wanted) if wanted else "-entries" not in names


def _filled(call: Call, queue: Document, limit: int) -> Document:
    queue["entries"] = queue_entries.entries(call.db, queue["id"], limit)
    return queue


def _workers(call: Call, queue: str) -> list[Body]:
    rows = call.db.execute(
        "SELECT workers.id, json_extract(workers.doc, '$.ip') FROM workers, json_each(workers.doc, '$.queues') AS each"
        " WHERE expires > ? AND each.value = ?",
        (call.now.timestamp(), queue),
    )
    return [{"name": key, "ip": ip} for key, ip in rows]


def _moved(call: Call, body: fields.Body, by: int) -> Body:
    queue, task = _queue(call, body)["id"], fields.required(body, "task")
    return {"position": queue_entries.move(call, queue, task, queue_entries.position(call.db, queue, task) + by)}


def _take_out(call: Call, queue: str, key: str) -> None:
    """Out of the queue, and back to the status from before, if the task still waits."""
    queue_entries.remove(call, key, queue)
    task = TASKS.find(call.db, key, "id")
    if task is None:
        return
    if status_of(task) is TaskStatus.QUEUED:
        queueing.dequeue(call, task, {})
    else:
        TASKS.patch(call.db, key, touched(call))
