"""tasks.*: from one status to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields, queue_entries
from clearml_agent_clone.server.documents import MODELS, TASKS
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.store import Document
from clearml_agent_clone.server.tasks import cleanup, queueing
from clearml_agent_clone.server.tasks.many import register_many
from clearml_agent_clone.server.tasks.status import active_seconds, change_status, refuse, status_of, touched

_WORKER_SILENCE = 600.0
STOPPING = "stopping"
ARCHIVED = "archived"
Body = dict[str, Any]


@endpoint("tasks.started", writes=True)
def started(call: Call, body: Body) -> Body:
    task = _task(call, body)
    extra: dict[str, Any] = {}
    if status_of(task) is not TaskStatus.IN_PROGRESS:
        extra = dict.fromkeys(name for name in ("completed", "active_duration") if name in task)
    if not task.get("started"):
        extra["started"] = fields.stamp(call.now)
    return {**_change(call, task, TaskStatus.IN_PROGRESS, body, extra), "started": 1}


@endpoint("tasks.stop", writes=True)
def stop(call: Call, body: Body) -> Body:
    return stop_one(call, fields.required(body, "task"), body)


def stop_one(call: Call, key: str, body: fields.Body) -> Body:
    """Stop a task, or ask the worker that runs it to do so by the message ``stopping``."""
    task = TASKS.get(call.db, key, "id")
    waits = status_of(task) is TaskStatus.QUEUED
    if not waits and queueing.DEVELOPMENT not in task.get("system_tags", []) and _has_worker(call, task):
        return _change(call, task, status_of(task), {**body, "status_message": STOPPING}, {})
    if waits:
        queue_entries.remove(call, key)
    message = f"Stopped by {call.user.user_name}"
    return _change(call, task, TaskStatus.STOPPED, {**body, "status_message": message}, {})


@endpoint("tasks.stopped", writes=True)
def stopped(call: Call, body: Body) -> Body:
    return _change(call, _task(call, body), TaskStatus.STOPPED, body, _completed_now(call))


@endpoint("tasks.failed", writes=True)
def failed(call: Call, body: Body) -> Body:
    return _change(call, _task(call, body), TaskStatus.FAILED, body, _completed_now(call))


@endpoint("tasks.completed", since="2.2", writes=True)
def completed(call: Call, body: Body) -> Body:
    reply = _change(call, _task(call, body), TaskStatus.COMPLETED, body, _completed_now(call))
    published = 0
    if fields.flag(body, "publish"):
        publish_one(call, fields.required(body, "task"), {**body, "publish_model": True})
        published = 1
    return {**reply, "published": published}


@endpoint("tasks.close", writes=True)
def close(call: Call, body: Body) -> Body:
    return _change(call, _task(call, body), TaskStatus.CLOSED, body, {})


@endpoint("tasks.publish", writes=True)
def publish(call: Call, body: Body) -> Body:
    return publish_one(call, fields.required(body, "task"), body)


def publish_one(call: Call, key: str, body: fields.Body) -> Body:
    """Publish a task and, unless ``publish_model`` is false, the models it made."""
    task = TASKS.get(call.db, key, "id")
    if status_of(task) is TaskStatus.PUBLISHED and not fields.flag(body, "force"):
        raise refuse(task, TaskStatus.PUBLISHED.value)
    now = fields.stamp(call.now)
    extra = {"published": now} if task.get("completed") else {"published": now, "completed": now}
    reply = _change(call, task, TaskStatus.PUBLISHED, body, extra)
    if fields.flag(body, "publish_model", default=True):
        for item in task.get("models", {}).get("output", []):
            if MODELS.exists(call.db, item["model"]):
                MODELS.patch(call.db, item["model"], {"ready": True, **touched(call)})
    return reply


@endpoint("tasks.reset", writes=True)
def reset(call: Call, body: Body) -> Body:
    return cleanup.reset(call, fields.required(body, "task"), body)


@endpoint("tasks.delete", writes=True)
def delete(call: Call, body: Body) -> Body:
    return cleanup.delete(call, fields.required(body, "task"), body)


@endpoint("tasks.enqueue", writes=True)
def enqueue(call: Call, body: Body) -> Body:
    return queueing.enqueue(call, fields.required(body, "task"), body)


@endpoint("tasks.dequeue", writes=True)
def dequeue(call: Call, body: Body) -> Body:
    return queueing.dequeue(call, _task(call, body), body)


@endpoint("tasks.ping", writes=True)
def ping(call: Call, body: Body) -> Body:
    task = _task(call, body)
    running = status_of(task) is TaskStatus.IN_PROGRESS
    active = {"active_duration": active_seconds(call, task)} if running else {}
    TASKS.patch(call.db, task["id"], {**touched(call), **active})
    return {}


@endpoint("tasks.archive", since="2.12", writes=True)
def archive(call: Call, body: Body) -> Body:
    keys = fields.texts(body, "tasks")
    for key in keys:
        archive_one(call, key, body)
    return {"archived": len(keys)}


def archive_one(call: Call, key: str, body: fields.Body) -> Body:
    """Put the label ``archived`` on a task; one that waits leaves its queue."""
    task = TASKS.get(call.db, key, "id")
    if status_of(task) is TaskStatus.QUEUED:
        queueing.dequeue(call, task, {})
    labels = [*(tag for tag in task.get("system_tags", []) if tag != ARCHIVED), ARCHIVED]
    TASKS.patch(call.db, key, {"system_tags": labels, **_reasons(body), **touched(call)})
    return {"archived": True}


def unarchive_one(call: Call, key: str, body: fields.Body) -> Body:
    """Take the label ``archived`` off a task."""
    task = TASKS.get(call.db, key, "id")
    labels = [tag for tag in task.get("system_tags", []) if tag != ARCHIVED]
    TASKS.patch(call.db, key, {"system_tags": labels, **_reasons(body), **touched(call)})
    return {"unarchived": True}


def _dequeue_one(call: Call, key: str, body: fields.Body) -> Body:
    return queueing.dequeue(call, TASKS.get(call.db, key, "id"), body)


register_many(
    "tasks",
    "2.12",
    {
        "stop_many": stop_one,
        "publish_many": publish_one,
        "reset_many": cleanup.reset,
        "delete_many": cleanup.delete,
        "enqueue_many": queueing.enqueue,
        "dequeue_many": _dequeue_one,
        "archive_many": archive_one,
        "unarchive_many": unarchive_one,
    },
)


def _task(call: Call, body: fields.Body) -> Document:
    return TASKS.get(call.db, fields.required(body, "task"), "id")


def _change(call: Call, task: Document, new: TaskStatus, body: fields.Body, extra: Mapping[str, Any]) -> Body:
    reason, message = fields.text(body, "status_reason"), fields.text(body, "status_message")
    force = fields.flag(body, "force")
    changed = change_status(call, task, new, reason=reason, message=message, force=force, extra=extra)
    return {"updated": 1, "fields": changed}


def _completed_now(call: Call) -> dict[str, Any]:
    return {"completed": fields.stamp(call.now)}


def _reasons(body: fields.Body) -> dict[str, str]:
    names = ("status_reason", "status_message")
    return {name: fields.text(body, name) for name in names if body.get(name) is not None}


def _has_worker(call: Call, task: Document) -> bool:
    seen = fields.parse_stamp(task.get("last_update") or "")
    if not task.get("last_worker") or seen is None:
        return False
    return (call.now - seen).total_seconds() < _WORKER_SILENCE
