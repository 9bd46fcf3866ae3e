"""models.*: publishing, archiving, deleting."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import MODELS, TASKS
from clearml_agent_clone.server.endpoints.tasks_status import publish_one as publish_task
from clearml_agent_clone.server.events.store import delete_task_events
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.tasks.many import register_many
from clearml_agent_clone.server.tasks.status import status_of, touched

Body = dict[str, Any]
_ARCHIVED = "archived"


@endpoint("models.set_ready", writes=True)
def set_ready(call: Call, body: Body) -> Body:
    return _publish(call, fields.required(body, "model"), body, fields.flag(body, "publish_task", default=True))


@endpoint("models.delete", writes=True)
def delete(call: Call, body: Body) -> Body:
    return _delete(call, fields.required(body, "model"), body)


@endpoint("models.make_public", since="2.9", writes=True)
@endpoint("models.make_private", since="2.9", writes=True)
def change_visibility(call: Call, body: Body) -> Body:
    return {"updated": sum(MODELS.exists(call.db, key) for key in fields.texts(body, "ids"))}


def _publish(call: Call, key: str, body: fields.Body, with_task: bool) -> Body:
    model = MODELS.get(call.db, key)
    if model.get("ready"):
        raise ApiFault(400, 203, f"Model is ready: model={key}")
    MODELS.patch(call.db, key, {"ready": True, **touched(call)})
    reply: Body = {"updated": 1}
    task = TASKS.find(call.db, model["task"], "id") if with_task and model.get("task") else None
    if task is not None and status_of(task) is not TaskStatus.PUBLISHED:
        force = fields.flag(body, "force_publish_task")
        data = publish_task(call, task["id"], {"force": force, "publish_model": False})
        reply["published_task"] = {"id": task["id"], "data": data}
    return reply


def _publish_one(call: Call, key: str, body: fields.Body) -> Body:
    return _publish(call, key, body, fields.flag(body, "publish_tasks", default=True))


def _delete(call: Call, key: str, body: fields.Body) -> Body:
    model = MODELS.get(call.db, key)
    if not fields.flag(body, "force"):
        if model.get("ready"):
            raise ApiFault(400, 203, f"Model is ready: model={key}")
        users = TASKS.select(
            call.db,
            "WHERE EXISTS (SELECT 1 FROM json_each(tasks.doc, '$.models.input') AS each"
            " WHERE json_extract(each.value, '$.model') = ?) LIMIT 1",
            (key,),
        )
        if users:
            raise ApiFault(400, 202, f"Model is in use: model={key}, task={users[0]['id']}")
    maker = TASKS.find(call.db, model["task"], "id") if model.get("task") else None
    if maker is not None:
        kept = [item for item in maker.get("models", {}).get("output", []) if item["model"] != key]
        TASKS.patch(call.db, maker["id"], {"models.output": kept})
    delete_task_events(call.db, key)
    MODELS.delete(call.db, key)
    return {"deleted": True, "url": model.get("uri", "")}


def _archive(call: Call, key: str, _body: fields.Body) -> Body:
    tags = [tag for tag in MODELS.get(call.db, key).get("system_tags", []) if tag != _ARCHIVED]
    MODELS.patch(call.db, key, {"system_tags": [*tags, _ARCHIVED], **touched(call)})
    return {"archived": True}


def _unarchive(call: Call, key: str, _body: fields.Body) -> Body:
    tags = [tag for tag in MODELS.get(call.db, key).get("system_tags", []) if tag != _ARCHIVED]
    MODELS.patch(call.db, key, {"system_tags": tags, **touched(call)})
    return {"unarchived": True}


register_many(
    "models",
    "2.13",
    {
        "publish_many": _publish_one,
        "delete_many": _delete,
        "archive_many": _archive,
        "unarchive_many": _unarchive,
    },
)
