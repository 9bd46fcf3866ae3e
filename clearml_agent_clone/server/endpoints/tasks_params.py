"""tasks.*: single hyperparameters, configuration objects and runtime properties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import TASKS
from clearml_agent_clone.server.endpoints.tasks_edit import editable
from clearml_agent_clone.server.faults import invalid
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.tasks import shape
from clearml_agent_clone.server.tasks.status import refuse, status_of, touched

Body = dict[str, Any]
_PROPERTIES = "properties"


@endpoint("tasks.edit_hyper_params", since="2.9", writes=True)
def edit_hyper_params(call: Call, body: Body) -> Body:
    items = fields.items(body, "hyperparams")
    replace = fields.text(body, "replace_hyperparams", "none")
    if replace not in ("none", "section", "all"):
        raise invalid("replace_hyperparams", "Value must be none, section or all")
    sections = _sections(call, body, items)
    new: Body = {}
    for item in items:
        section, name = fields.required(item, "section"), fields.required(item, "name")
        new.setdefault(section, {})[name] = shape.parameter(item, section, name)
    if replace == "all":
        sections = new
    elif replace == "section":
        sections = {**sections, **new}
    else:
        sections = {**sections, **{name: {**sections.get(name, {}), **found} for name, found in new.items()}}
    return _store(call, body, {"hyperparams": sections}, "updated")


@endpoint("tasks.delete_hyper_params", since="2.9", writes=True)
def delete_hyper_params(call: Call, body: Body) -> Body:
    items = fields.items(body, "hyperparams")
    sections = _sections(call, body, items)
    for item in items:
        section, name = fields.required(item, "section"), fields.text(item, "name")
        if not name:
            sections.pop(section, None)
        elif section in sections:
            sections[section].pop(name, None)
    return _store(call, body, {"hyperparams": sections}, "deleted")


@endpoint("tasks.edit_configuration", since="2.9", writes=True)
def edit_configuration(call: Call, body: Body) -> Body:
    new = shape.configuration({fields.required(item, "name"): item for item in fields.items(body, "configuration")})
    old = editable(call, body, "configuration").get("configuration", {})
    kept = {} if fields.flag(body, "replace_configuration") else old
    return _store(call, body, {"configuration": {**kept, **new}}, "updated")


@endpoint("tasks.delete_configuration", since="2.9", writes=True)
def delete_configuration(call: Call, body: Body) -> Body:
    gone = set(fields.texts(body, "configuration"))
    old = editable(call, body, "configuration").get("configuration", {})
    kept = {name: item for name, item in old.items() if name not in gone}
    return _store(call, body, {"configuration": kept}, "deleted")


@endpoint("tasks.edit_runtime", since="2.34", writes=True)
def edit_runtime(call: Call, body: Body) -> Body:
    task = TASKS.get(call.db, fields.required(body, "task"), "id")
    if status_of(task) is TaskStatus.PUBLISHED and not fields.flag(body, "force"):
        raise refuse(task, TaskStatus.PUBLISHED.value)
    gone = set(fields.texts(body, "remove"))
    runtime = {**task.get("runtime", {}), **fields.mapping(body, "add_or_update")}
    kept = {name: value for name, value in runtime.items() if name not in gone}
    return _store(call, body, {"runtime": kept}, "updated")


def _sections(call: Call, body: Body, items: list[dict[str, Any]]) -> Body:
    # User properties are notes about a task, not its settings: they may change in any status.
    notes = bool(items) and all(item.get("section") == _PROPERTIES for item in items)
    task = editable(call, {**body, "force": True} if notes else body, "hyperparams")
    sections: Body = task.get("hyperparams", {})
    return sections


def _store(call: Call, body: Body, changes: Mapping[str, Any], answer: str) -> Body:
    TASKS.patch(call.db, fields.required(body, "task"), {**changes, **touched(call)})
    return {answer: 1}
