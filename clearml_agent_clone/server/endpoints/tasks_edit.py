"""tasks.*: making and changing."""

from __future__ import annotations

import json
from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import MODELS, TASKS
from clearml_agent_clone.server.faults import ApiFault, invalid, no_such_model
from clearml_agent_clone.server.projects import project_named
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.store import Document
from clearml_agent_clone.server.tags import change_tags
from clearml_agent_clone.server.tasks import shape
from clearml_agent_clone.server.tasks.status import refuse, status_of, touch_project, touched

Body = dict[str, Any]
_UPDATED = ("name", "tags", "system_tags", "comment", "project")


@endpoint("tasks.create", writes=True)
def create(call: Call, body: Body) -> Body:
    task = _new_task(call, body)
    TASKS.insert(call.db, task)
    touch_project(call, task.get("project"))
    return {"id": task["id"]}


@endpoint("tasks.validate")
def validate(call: Call, body: Body) -> Body:
    _new_task(call, body)
    return {}


@endpoint("tasks.edit", writes=True)
def edit(call: Call, body: Body) -> Body:
    task = editable(call, body, "script", "execution")
    found = shape.given(body)
    shape.check_references(call.db, found)
    changes = shape.merged(task, found)
    if not changes:
        return {"updated": 0, "fields": {}}
    changes.update(touched(call))
    if shape.is_quiet(found):
        changes.pop("last_update")
    TASKS.patch(call.db, task["id"], changes)
    touch_project(call, changes.get("project") or task.get("project"))
    return {"updated": 1, "fields": changes}


@endpoint("tasks.update", writes=True)
def update(call: Call, body: Body) -> Body:
    return _update(call, body)


@endpoint("tasks.update_batch", writes=True)
def update_batch(call: Call, _body: Body) -> Body:
    updated = 0
    for line in call.lines:
        try:
            body = json.loads(line)
        except ValueError:
            raise ApiFault(400, 0, "A line is not JSON") from None
        if not isinstance(body, dict):
            raise ApiFault(400, 0, "A line is not a JSON object")
        updated += int(_update(call, body)["updated"])
    if not call.lines:
        raise ApiFault(400, 17, "Batch contains no items")
    return {"updated": updated}


@endpoint("tasks.update_tags", since="2.27", writes=True)
def update_tags(call: Call, body: Body) -> Body:
    return change_tags(call, TASKS, body)


@endpoint("tasks.set_requirements", writes=True)
def set_requirements(call: Call, body: Body) -> Body:
    key = fields.required(body, "task")
    requirements = fields.mapping(body, "requirements")
    if not isinstance(body.get("requirements"), dict):
        raise invalid("requirements", "Field is required")
    script = TASKS.get(call.db, key, "script").get("script") or {}
    TASKS.patch(call.db, key, {"script": {**script, "requirements": requirements}, **touched(call)})
    return {"updated": 1, "fields": {}}


@endpoint("tasks.clone", since="2.5", writes=True)
def clone(call: Call, body: Body) -> Body:
    source = TASKS.get(call.db, fields.required(body, "task"))
    execution = dict(source.get("execution") or {})
    execution.pop("queue", None)
    execution["artifacts"] = [item for item in execution.get("artifacts", []) if item.get("mode") == "input"]
    new_project = _new_project(call, body)
    found = {
        "name": source["name"],
        "type": source["type"],
        "comment": source.get("comment", ""),
        "parent": source.get("parent"),
        "project": new_project.get("id") or source.get("project"),
        "tags": source.get("tags", []),
        "system_tags": [tag for tag in source.get("system_tags", []) if tag in {"pipeline", "dataset", "hidden"}],
        "script": source.get("script", {}),
        "execution": execution,
        "hyperparams": source.get("hyperparams", {}),
        "configuration": source.get("configuration", {}),
        "container": source.get("container", {}),
        "models": {"input": source.get("models", {}).get("input", []), "output": []},
        "output": {key: value for key, value in source.get("output", {}).items() if key == "destination"},
        **_overrides(body),
    }
    if overrides := fields.mapping(body, "execution_overrides"):
        found["execution"] = {**execution, **shape.given({"execution": overrides})["execution"]}
    if fields.flag(body, "validate_references"):
        shape.check_references(call.db, found)
    task = shape.build(call, {name: value for name, value in found.items() if value is not None})
    TASKS.insert(call.db, task)
    touch_project(call, task.get("project"))
    return {"id": task["id"], **({"new_project": new_project} if new_project else {})}


@endpoint("tasks.move", since="2.12", writes=True)
def move(call: Call, body: Body) -> Body:
    project = fields.text(body, "project")
    name = fields.text(body, "project_name")
    if not project and not name:
        raise invalid("project", "Either project or project_name is required")
    project = project or project_named(call, name)
    shape.check_references(call.db, {"project": project})
    for key in fields.texts(body, "ids"):
        TASKS.patch(call.db, key, {"project": project, **touched(call)})
    touch_project(call, project)
    return {"project_id": project}


@endpoint("tasks.add_or_update_artifacts", since="2.10", writes=True)
def add_or_update_artifacts(call: Call, body: Body) -> Body:
    task = TASKS.get(call.db, fields.required(body, "task"), "execution")
    _not_published(task, body)
    execution = task.get("execution") or shape.default_execution()
    kept = {(item["key"], item["mode"]): item for item in execution.get("artifacts", [])}
    for item in fields.items(body, "artifacts"):
        stored = shape.artifact(item)
        kept[stored["key"], stored["mode"]] = stored
    return _store(call, task, {"execution": {**execution, "artifacts": list(kept.values())}})


@endpoint("tasks.delete_artifacts", since="2.10", writes=True)
def delete_artifacts(call: Call, body: Body) -> Body:
    task = TASKS.get(call.db, fields.required(body, "task"), "execution")
    _not_published(task, body)
    execution = task.get("execution") or shape.default_execution()
    gone = {(item.get("key"), item.get("mode") or "output") for item in fields.items(body, "artifacts")}
    kept = [item for item in execution.get("artifacts", []) if (item["key"], item["mode"]) not in gone]
    _store(call, task, {"execution": {**execution, "artifacts": kept}})
    return {"deleted": 1}


@endpoint("tasks.add_or_update_model", since="2.13", writes=True)
def add_or_update_model(call: Call, body: Body) -> Body:
    task = TASKS.get(call.db, fields.required(body, "task"), "id")
    name, model = fields.required(body, "name"), fields.required(body, "model")
    kind = _model_kind(body)
    if not MODELS.exists(call.db, model):
        raise no_such_model(model)
    models = {**shape.default_models(), **task.get("models", {})}
    item = {"name": name, "model": model, "updated": fields.stamp(call.now)}
    names = [one["name"] for one in models[kind]]
    if name in names:
        models[kind] = [item if one["name"] == name else one for one in models[kind]]
    else:
        models[kind] = [*models[kind], item]
    changes: Body = {"models": models}
    if body.get("iteration") is not None:
        changes["last_iteration"] = max(task.get("last_iteration", 0), fields.integer(body, "iteration"))
    return _store(call, task, changes)


@endpoint("tasks.delete_models", since="2.13", writes=True)
def delete_models(call: Call, body: Body) -> Body:
    task = TASKS.get(call.db, fields.required(body, "task"), "id")
    gone = {(_model_kind(item), fields.required(item, "name")) for item in fields.items(body, "models")}
    models = {
        kind: [item for item in items if (kind, item["name"]) not in gone]
        for kind, items in {**shape.default_models(), **task.get("models", {})}.items()
    }
    return _store(call, task, {"models": models})


@endpoint("tasks.make_public", since="2.9", writes=True)
@endpoint("tasks.make_private", since="2.9", writes=True)
def change_visibility(call: Call, body: Body) -> Body:
    # There is one company here: everything is visible to it, and to nobody else.
    return {"updated": sum(TASKS.exists(call.db, key) for key in fields.texts(body, "ids"))}


def editable(call: Call, body: fields.Body, *parts: str) -> Document:
    """The task that ``body`` means, if it may be edited: a draft, or ``force``. Raises ``ApiFault`` 400/110."""
    task = TASKS.get(call.db, fields.required(body, "task"), "id", *parts)
    if status_of(task) is not TaskStatus.CREATED and not fields.flag(body, "force"):
        raise refuse(task, TaskStatus.CREATED.value)
    return task


def _new_task(call: Call, body: fields.Body) -> Document:
    fields.required(body, "name")
    fields.required(body, "type")
    found = shape.given(body)
    shape.check_references(call.db, found)
    return shape.build(call, found)


def _update(call: Call, body: fields.Body) -> Body:
    task = TASKS.get(call.db, fields.required(body, "task"), "id")
    found = shape.given({name: body.get(name) for name in _UPDATED})
    shape.check_references(call.db, found)
    if body.get("output__error") is not None:
        found["output.error"] = fields.text(body, "output__error")
    if body.get("created") is not None:
        created = fields.parse_stamp(fields.text(body, "created"))
        if created is None:
            raise invalid("created", "Value is not a date")
        found["created"] = fields.stamp(created)
    if not found:
        return {"updated": 0, "fields": {}}
    changes = {**found, **touched(call)}
    if shape.is_quiet(found):
        changes.pop("last_update")
    TASKS.patch(call.db, task["id"], changes)
    touch_project(call, changes.get("project") or task.get("project"))
    return {"updated": 1, "fields": changes}


def _new_project(call: Call, body: fields.Body) -> Body:
    name = fields.text(body, "new_project_name")
    return {"id": project_named(call, name), "name": name} if name else {}


def _overrides(body: fields.Body) -> Body:
    names = ("name", "comment", "tags", "system_tags", "parent", "project", "hyperparams", "configuration", "container")
    renamed = {name: body[f"new_task_{name}"] for name in names if body.get(f"new_task_{name}") is not None}
    found = shape.given(renamed)
    if body.get("new_task_input_models") is not None:
        found["models"] = {
            "input": shape.given({"models": {"input": body["new_task_input_models"]}})["models"]["input"]
        }
    return found


def _model_kind(body: fields.Body) -> str:
    kind = fields.required(body, "type")
    if kind not in ("input", "output"):
        raise invalid("type", "Value must be input or output")
    return kind


def _not_published(task: Document, body: fields.Body) -> None:
    if status_of(task) is TaskStatus.PUBLISHED and not fields.flag(body, "force"):
        raise refuse(task, TaskStatus.PUBLISHED.value)


def _store(call: Call, task: Document, changes: Body) -> Body:
    TASKS.patch(call.db, task["id"], {**changes, **touched(call)})
    return {"updated": 1}
