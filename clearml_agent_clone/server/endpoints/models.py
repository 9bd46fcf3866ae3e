"""models.*: looking, making, changing."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import MODELS, PROJECTS, TASKS, new_id
from clearml_agent_clone.server.endpoints.tasks_read import listing_in_projects
from clearml_agent_clone.server.faults import invalid, no_such_model, no_such_project
from clearml_agent_clone.server.metadata import metadata, with_metadata, without_metadata
from clearml_agent_clone.server.projects import project_named
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.store import Document
from clearml_agent_clone.server.tags import change_tags
from clearml_agent_clone.server.tasks import shape
from clearml_agent_clone.server.tasks.status import touch_project, touched

Body = dict[str, Any]
_TEXTS = ("name", "comment", "framework", "uri", "project", "parent", "task")
_LINKS = frozenset({"project", "parent", "task"})
_OBJECTS = ("design", "labels", "ui_cache")


@endpoint("models.create", writes=True)
def create(call: Call, body: Body) -> Body:
    fields.required(body, "uri")
    fields.required(body, "name")
    model = _new_model(call, _given(call, body))
    MODELS.insert(call.db, model)
    touch_project(call, model.get("project"))
    return {"id": model["id"], "created": True}


@endpoint("models.edit", writes=True)
def edit(call: Call, body: Body) -> Body:
    return _change(call, body)


@endpoint("models.update", writes=True)
def update(call: Call, body: Body) -> Body:
    return _change(call, body)


@endpoint("models.update_for_task", writes=True)
def update_for_task(call: Call, body: Body) -> Body:
    """The newest output model of a task: changed, or made when there is none."""
    task = TASKS.get(call.db, fields.required(body, "task"), "id")
    _advance(call, task["id"], body)
    key = fields.text(body, "override_model_id")
    outputs = task.get("models", {}).get("output", [])
    if not key and outputs:
        key = outputs[-1]["model"]
    if key:
        changes = {**_given(call, {**body, "task": None}), **touched(call)}
        MODELS.patch(call.db, key, changes)
        return {"id": key, "created": False, "updated": 1, "fields": changes}
    fields.required(body, "uri")
    found = _given(call, body)
    model = _new_model(call, {"name": task["name"], "project": task.get("project"), **found})
    MODELS.insert(call.db, model)
    item = {"name": model["name"], "model": model["id"], "updated": fields.stamp(call.now)}
    TASKS.patch(call.db, task["id"], {"models.output": [item], **touched(call)})
    return {"id": model["id"], "created": True, "updated": 0, "fields": {}}


@endpoint("models.get_by_id")
def get_by_id(call: Call, body: Body) -> Body:
    return {"model": MODELS.get(call.db, fields.required(body, "model"))}


@endpoint("models.get_by_task_id")
def get_by_task_id(call: Call, body: Body) -> Body:
    task = TASKS.get(call.db, fields.required(body, "task"), "id")
    outputs = task.get("models", {}).get("output", [])
    if not outputs:
        raise no_such_model(f"(output model of task {task['id']})")
    return {"model": MODELS.get(call.db, outputs[-1]["model"])}


@endpoint("models.get_all")
def get_all_models(call: Call, body: Body) -> Body:
    return listing_in_projects(call, MODELS, body, expanded=False).reply("models")


@endpoint("models.get_all_ex")
def get_all_ex(call: Call, body: Body) -> Body:
    return listing_in_projects(call, MODELS, body, expanded=True).reply("models")


@endpoint("models.get_by_id_ex")
def get_by_id_ex(call: Call, body: Body) -> Body:
    if not body.get("id"):
        raise invalid("id", "Field is required")
    return listing_in_projects(call, MODELS, body, expanded=True).reply("models")


@endpoint("models.get_frameworks", since="2.8")
def get_frameworks(call: Call, _body: Body) -> Body:
    rows = call.db.execute("SELECT DISTINCT json_extract(doc, '$.framework') FROM models ORDER BY 1")
    return {"frameworks": [row[0] for row in rows if row[0]]}


@endpoint("models.move", since="2.12", writes=True)
def move(call: Call, body: Body) -> Body:
    project, name = fields.text(body, "project"), fields.text(body, "project_name")
    if not project and not name:
        raise invalid("project", "Either project or project_name is required")
    project = project or project_named(call, name)
    if not PROJECTS.exists(call.db, project):
        raise no_such_project(project)
    for key in fields.texts(body, "ids"):
        MODELS.patch(call.db, key, {"project": project, **touched(call)})
    return {"project_id": project}


@endpoint("models.update_tags", since="2.27", writes=True)
def update_tags(call: Call, body: Body) -> Body:
    return change_tags(call, MODELS, body)


@endpoint("models.add_or_update_metadata", since="2.13", writes=True)
def add_or_update_metadata(call: Call, body: Body) -> Body:
    model = MODELS.get(call.db, fields.required(body, "model"))
    MODELS.patch(call.db, model["id"], {"metadata": with_metadata(model, body), **touched(call)})
    return {"updated": 1}


@endpoint("models.delete_metadata", since="2.13", writes=True)
def delete_metadata(call: Call, body: Body) -> Body:
    model = MODELS.get(call.db, fields.required(body, "model"))
    MODELS.patch(call.db, model["id"], {"metadata": without_metadata(model, body), **touched(call)})
    return {"updated": 1}


def _given(call: Call, body: fields.Body) -> Body:
    found: Body = {}
    for name in _TEXTS:
        if body.get(name) is not None:
            found[name] = fields.text(body, name) or (None if name in _LINKS else "")
    for name in ("tags", "system_tags"):
        if body.get(name) is not None:
            found[name] = shape.unique(fields.texts(body, name))
    for name in _OBJECTS:
        if body.get(name) is not None:
            found[name] = fields.mapping(body, name)
    if body.get("metadata") is not None:
        found["metadata"] = metadata(body["metadata"])
    if body.get("ready") is not None:
        found["ready"] = fields.flag(body, "ready")
    _check_references(call, found)
    return found


def _check_references(call: Call, found: Body) -> None:
    for name, collection in (("project", PROJECTS), ("task", TASKS), ("parent", MODELS)):
        if found.get(name) and not collection.exists(call.db, found[name]):
            raise collection.missing(found[name])


def _new_model(call: Call, found: Body) -> Document:
    now = fields.stamp(call.now)
    return {
        "id": new_id(),
        "company": call.user.company,
        "user": call.user.user,
        "created": now,
        "tags": [],
        "system_tags": [],
        "design": {},
        "labels": {},
        "ready": False,
        "last_update": now,
        "last_change": now,
        "last_changed_by": call.user.user,
        "metadata": {},
        "last_iteration": 0,
        "last_metrics": {},
        **found,
    }


def _change(call: Call, body: Body) -> Body:
    model = MODELS.get(call.db, fields.required(body, "model"))
    found = _given(call, body)
    if body.get("created") is not None:
        created = fields.parse_stamp(fields.text(body, "created"))
        if created is None:
            raise invalid("created", "Value is not a date")
        found["created"] = fields.stamp(created)
    if not found and body.get("iteration") is None:
        return {"updated": 0, "fields": {}}
    _advance(call, found.get("task") or model.get("task"), body)
    changes = {**found, **touched(call)}
    MODELS.patch(call.db, model["id"], changes)
    touch_project(call, changes.get("project") or model.get("project"))
    return {"updated": 1, "fields": changes}


def _advance(call: Call, key: str | None, body: fields.Body) -> None:
    """A model that was made at an iteration shows how far its task has come."""
    if body.get("iteration") is None or not key:
        return
    task = TASKS.find(call.db, key, "id")
    if task is not None:
        reached = max(task.get("last_iteration", 0), fields.integer(body, "iteration"))
        TASKS.patch(call.db, key, {"last_iteration": reached, "last_update": fields.stamp(call.now)})
