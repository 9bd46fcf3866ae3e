"""A task into a queue and out of it again."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields, queue_entries
from clearml_agent_clone.server.documents import QUEUES, TASKS, new_id
from clearml_agent_clone.server.faults import ApiFault, invalid, no_such_queue
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Document
from clearml_agent_clone.server.tasks.status import change_status, may_become, refuse, status_of

DEVELOPMENT = "development"
_WAITS = frozenset({TaskStatus.QUEUED, TaskStatus.IN_PROGRESS})


def enqueue(call: Call, key: str, body: fields.Body) -> dict[str, Any]:
    """Put a task into the queue that ``body`` names (``queue``, ``queue_name`` or neither: the default one).

    Raises:
        ApiFault: 400; 110 the status does not allow it, 706 it is in that queue already, 701 no such queue.
    """
    task = TASKS.get(call.db, key, "id")
    queue = choose_queue(call, body)
    status = status_of(task)
    if queue_entries.contains(call.db, queue, key) and status is TaskStatus.QUEUED:
        raise ApiFault(400, 706, f"Task already queued: task={key}, queue={queue}")
    force = fields.flag(body, "force")
    if not force and not may_become(status, TaskStatus.QUEUED):
        raise refuse(task, TaskStatus.QUEUED.value)
    extra: dict[str, Any] = {}
    if status is not TaskStatus.QUEUED:
        extra["enqueue_status"] = status.value
    if fields.flag(body, "update_execution_queue", default=True):
        extra["execution.queue"] = queue
    if DEVELOPMENT in task.get("system_tags", []):
        extra["system_tags"] = [tag for tag in task["system_tags"] if tag != DEVELOPMENT]
    changed = change_status(
        call,
        task,
        TaskStatus.QUEUED,
        reason=fields.text(body, "status_reason"),
        message=fields.text(body, "status_message"),
        force=True,
        extra=extra,
    )
    queue_entries.remove(call, key)
    queue_entries.append(call, queue, key)
    reply = {"queued": 1, "updated": 1, "fields": changed}
    if fields.flag(body, "verify_watched_queue"):
        reply["queue_watched"] = is_watched(call, queue)
    return reply


def dequeue(call: Call, task: Document, body: fields.Body) -> dict[str, Any]:
    """Take a task out of its queue, back to ``new_status``, else to the status it had before, else to ``created``.

    A running task is moved as well: an agent says ``new_status`` ``in_progress``, and without it the task is a draft
    again. In any other status nothing happens.
    """
    if status_of(task) not in _WAITS:
        return {"dequeued": 0, "updated": 0, "fields": {}}
    queue_entries.remove(call, task["id"])
    target = fields.text(body, "new_status") or task.get("enqueue_status") or TaskStatus.CREATED.value
    new = TaskStatus.from_wire(target)
    if new is TaskStatus.UNKNOWN:
        raise invalid("new_status", f"{target} is not a status")
    changed = change_status(
        call,
        task,
        new,
        reason=fields.text(body, "status_reason"),
        message=fields.text(body, "status_message"),
        force=True,
        extra={"enqueue_status": None},
    )
    return {"dequeued": 1, "updated": 1, "fields": changed}


def choose_queue(call: Call, body: fields.Body) -> str:
    """The id of the queue that ``body`` means; one named by ``queue_name`` is made when it does not exist."""
    queue = fields.text(body, "queue")
    if queue:
        if not QUEUES.exists(call.db, queue):
            raise no_such_queue(queue)
        return queue
    name = fields.text(body, "queue_name")
    return queue_by_name(call, name) if name else default_queue(call)["id"]


def queue_by_name(call: Call, name: str) -> str:
    """The id of the queue called ``name``, made when there is none."""
    found = QUEUES.select(call.db, "WHERE name = ?", (name,))
    return str(found[0]["id"]) if found else create_queue(call, {"name": name})


def create_queue(call: Call, found: Document) -> str:
    """Make a queue of the given fields; its id."""
    key, now = new_id(), fields.stamp(call.now)
    QUEUES.insert(
        call.db,
        {
            "id": key,
            "company": call.user.company,
            "user": call.user.user,
            "created": now,
            "last_update": now,
            "tags": [],
            "system_tags": [],
            "metadata": {},
            **found,
        },
    )
    return key


def default_queue(call: Call) -> Document:
    """The queue with the system tag ``default``. Raises ``ApiFault`` 400/707 (none) or 400/708 (several)."""
    found = [queue for queue in QUEUES.select(call.db) if "default" in queue.get("system_tags", [])]
    if not found:
        raise ApiFault(400, 707, "No default queue defined")
    if len(found) > 1:
        raise ApiFault(400, 708, f"More than one default queue: {', '.join(queue['id'] for queue in found)}")
    return found[0]


def is_watched(call: Call, queue: str) -> bool:
    """Whether a living worker listens to ``queue``."""
    row = call.db.execute(
        "SELECT 1 FROM workers, json_each(workers.doc, '$.queues') AS each WHERE expires > ? AND each.value = ?",
        (call.now.timestamp(), queue),
    ).fetchone()
    return row is not None
