"""What else goes when a task is reset or deleted."""

from __future__ import annotations

from typing import Any

import attrs

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields, queue_entries
from clearml_agent_clone.server.documents import MODELS, TASKS
from clearml_agent_clone.server.events.store import IMAGE, PLOT, delete_task_events
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Document
from clearml_agent_clone.server.tasks.shape import default_execution, default_script
from clearml_agent_clone.server.tasks.status import change_status, refuse, status_of

_FORGOTTEN = ("started", "completed", "published", "active_duration", "last_worker", "last_worker_report")


@attrs.define
class Removed:
    """What was removed along with a task, and where files of it may still lie."""

    deleted_models: int = 0
    updated_models: int = 0
    model_urls: list[str] = attrs.Factory(list)
    event_urls: list[str] = attrs.Factory(list)
    artifact_urls: list[str] = attrs.Factory(list)

    def urls(self) -> dict[str, list[str]]:
        return {"model_urls": self.model_urls, "event_urls": self.event_urls, "artifact_urls": self.artifact_urls}


def reset(call: Call, key: str, body: fields.Body) -> dict[str, Any]:
    """Make a task a draft again: out of every queue, its results gone, its settings kept.

    Raises:
        ApiFault: 400/110, it is published and ``force`` is not set.
    """
    task = TASKS.get(call.db, key, "execution")
    force = fields.flag(body, "force")
    if status_of(task) is TaskStatus.PUBLISHED and not force:
        raise refuse(task, TaskStatus.CREATED.value)
    queue_entries.remove(call, key)
    removed = _remove_results(call, task, delete_models=fields.flag(body, "delete_output_models", default=True))
    changed = change_status(
        call, task, TaskStatus.CREATED, reason="reset", message="reset", force=force or _may_reset(task)
    )
    TASKS.patch(call.db, key, _blank(task, clear_all=fields.flag(body, "clear_all")))
    return {
        "updated": 1,
        "fields": changed,
        "dequeued": {},
        "events": {},
        "deleted_models": removed.deleted_models,
        "urls": removed.urls() if fields.flag(body, "return_file_urls") else {},
    }


def delete(call: Call, key: str, body: fields.Body) -> dict[str, Any]:
    """Remove a task for good.

    Raises:
        ApiFault: 400/123, it is not a draft and ``force`` is not set.
    """
    task = TASKS.get(call.db, key, "execution")
    if status_of(task) is not TaskStatus.CREATED and not fields.flag(body, "force"):
        status = task.get("status")
        raise ApiFault(400, 123, f"Task cannot be deleted in status {status}: task={key}", {"status": status})
    queue_entries.remove(call, key)
    removed = _remove_results(call, task, delete_models=fields.flag(body, "delete_output_models", default=True))
    children = TASKS.select(call.db, "WHERE parent = ?", (key,))
    for child in children:
        TASKS.patch(call.db, child["id"], {"parent": None})
    TASKS.delete(call.db, key)
    return {
        "deleted": True,
        "updated_children": len(children),
        "updated_models": removed.updated_models,
        "deleted_models": removed.deleted_models,
        "urls": removed.urls() if fields.flag(body, "return_file_urls") else None,
    }


def _may_reset(task: Document) -> bool:
    # Every status but "published" may be reset, also the few whose way back the table does not show.
    return status_of(task) is not TaskStatus.PUBLISHED


def _blank(task: Document, *, clear_all: bool) -> dict[str, Any]:
    execution = task.get("execution") or default_execution()
    inputs = [item for item in execution.get("artifacts", []) if item.get("mode") == "input"]
    blank: dict[str, Any] = {
        **dict.fromkeys(_FORGOTTEN),
        "enqueue_status": None,
        "runtime": {},
        "last_iteration": 0,
        "last_metrics": {},
        "metric_stats": {},
        "unique_metrics": [],
        "models.output": [],
        "output.error": None,
        "execution": {key: value for key, value in {**execution, "artifacts": inputs}.items() if key != "queue"},
    }
    if clear_all:
        blank.update(script=default_script(), execution=default_execution())
    return blank


def _remove_results(call: Call, task: Document, *, delete_models: bool) -> Removed:
    removed = Removed()
    rows = call.db.execute(
        "SELECT json_extract(extra, '$.url') FROM point_events WHERE owner = ? AND type IN (?, ?)",
        (task["id"], IMAGE, PLOT),
    )
    removed.event_urls = sorted({row[0] for row in rows if row[0]})
    artifacts = (task.get("execution") or {}).get("artifacts", [])
    removed.artifact_urls = sorted({item["uri"] for item in artifacts if item.get("uri") and item["mode"] == "output"})
    delete_task_events(call.db, task["id"])
    for model in MODELS.select(call.db, "WHERE task = ?", (task["id"],)):
        if delete_models and not model.get("ready") and not _is_used(call, model["id"], task["id"]):
            MODELS.delete(call.db, model["id"])
            delete_task_events(call.db, model["id"])
            removed.deleted_models += 1
            removed.model_urls += [model["uri"]] if model.get("uri") else []
        else:
            MODELS.patch(call.db, model["id"], {"task": None})
            removed.updated_models += 1
    return removed


def _is_used(call: Call, model: str, task: str) -> bool:
    row = call.db.execute(
        "SELECT 1 FROM tasks, json_each(tasks.doc, '$.models.input') AS each"
        " WHERE tasks.id <> ? AND json_extract(each.value, '$.model') = ? LIMIT 1",
        (task, model),
    ).fetchone()
    return row is not None
