"""The fields of a task that a client may set: their types, their defaults, how an edit is merged."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import MODELS, PROJECTS, TASKS, new_id
from clearml_agent_clone.server.faults import invalid, no_such_model, no_such_project, refused_value
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Document

TASK_TYPES = (
    "training",
    "testing",
    "inference",
    "data_processing",
    "application",
    "monitor",
    "controller",
    "optimizer",
    "service",
    "qc",
    "custom",
)
_SHORTEST_NAME = 3
_TEXTS = ("name", "comment", "parent", "project", "type")
_LISTS = ("tags", "system_tags")
_LINKS = frozenset({"parent", "project"})  # an empty one means none
_MERGED = ("script", "execution", "models")  # an edit sets what it names inside them and leaves the rest
_REPLACED = ("hyperparams", "configuration", "container", "runtime")
_QUIET = frozenset({"name", "comment", "tags", "system_tags"})


def default_execution() -> Document:
    return {"test_split": 0, "parameters": {}, "model_desc": {}, "model_labels": {}, "artifacts": []}


def default_script() -> Document:
    return {"binary": "python", "repository": "", "entry_point": "", "requirements": {}}


def default_models() -> Document:
    return {"input": [], "output": []}


def given(body: fields.Body) -> dict[str, Any]:
    """The task fields in ``body``, each checked and in the shape it is stored in.

    Raises:
        ApiFault: 400/12 wrong type, 400/800 a value that may not be stored.
    """
    found: dict[str, Any] = {}
    for name in _TEXTS:
        if body.get(name) is not None:
            found[name] = fields.text(body, name) or (None if name in _LINKS else "")
    for name in _LISTS:
        if body.get(name) is not None:
            found[name] = unique(fields.texts(body, name))
    for name in (*_MERGED, *_REPLACED):
        if body.get(name) is not None:
            found[name] = _SHAPES.get(name, dict)(fields.mapping(body, name))
    if body.get("output_dest") is not None:
        found["output"] = {"destination": fields.text(body, "output_dest")}
    _check(found)
    return found


def build(call: Call, found: Mapping[str, Any]) -> Document:
    """A new task in status ``created`` with the fields ``found`` and the defaults for the rest."""
    now = fields.stamp(call.now)
    return {
        "id": new_id(),
        "company": call.user.company,
        "user": call.user.user,
        "status": "created",
        "comment": "",
        "report_assets": [],
        "created": now,
        "last_update": now,
        "last_change": now,
        "last_changed_by": call.user.user,
        "tags": [],
        "system_tags": [],
        "output": {},
        "last_iteration": 0,
        "last_metrics": {},
        "unique_metrics": [],
        "metric_stats": {},
        "hyperparams": {},
        "configuration": {},
        "runtime": {},
        "container": {},
        **found,
        "script": {**default_script(), **found.get("script", {})},
        "execution": {**default_execution(), **found.get("execution", {})},
        "models": {**default_models(), **found.get("models", {})},
    }


def merged(task: Document, found: Mapping[str, Any]) -> dict[str, Any]:
    """``found`` as an edit of ``task``: sections are replaced, but script, execution, models and output are merged."""
    changes = dict(found)
    for name in (*_MERGED, "output"):
        if name in changes:
            changes[name] = {**(task.get(name) or {}), **changes[name]}
    return changes


def is_quiet(found: Mapping[str, Any]) -> bool:
    """Whether only labels change, which does not count as progress of the task."""
    return _QUIET.issuperset(found)


def check_references(db: sqlite3.Connection, found: Mapping[str, Any]) -> None:
    """See that project, parent and models exist. Raises ``ApiFault`` 400/401, 400/101 or 400/201."""
    if found.get("project") and not PROJECTS.exists(db, found["project"]):
        raise no_such_project(found["project"])
    if found.get("parent") and not TASKS.exists(db, found["parent"]):
        raise TASKS.missing(found["parent"])
    for items in (found.get("models") or {}).values():
        for item in items:
            if not MODELS.exists(db, item["model"]):
                raise no_such_model(item["model"])


def unique(values: list[str]) -> list[str]:
    """``values`` without repetitions, in order."""
    return list(dict.fromkeys(values))


def parameters(sections: Mapping[str, Any]) -> Document:
    """Hyperparameters by section and name, each with its own section and name filled in."""
    found: Document = {}
    for section, items in sections.items():
        if not isinstance(items, Mapping):
            raise invalid("hyperparams", f"Section {section} is not an object")
        found[section] = {name: parameter(item, section, name) for name, item in items.items()}
    return found


def parameter(item: Any, section: str, name: str) -> Document:
    """One hyperparameter as it is stored; every value is text."""
    if not isinstance(item, Mapping):
        raise invalid("hyperparams", f"{section}/{name} is not an object")
    stored = {"section": section, "name": name, **{key: value for key, value in item.items() if value is not None}}
    for key, value in stored.items():
        stored[key] = value if isinstance(value, str) else str(value)
    return stored


def configuration(items: Mapping[str, Any]) -> Document:
    """Configuration objects by name, each with its name filled in."""
    found: Document = {}
    for name, item in items.items():
        if not isinstance(item, Mapping):
            raise invalid("configuration", f"{name} is not an object")
        found[name] = {"name": name, **{key: value for key, value in item.items() if value is not None}}
    return found


def artifact(item: Mapping[str, Any]) -> Document:
    """An artifact as it is stored."""
    fields.required(item, "key")
    fields.required(item, "type")
    stored = {"mode": "output", "display_data": [], **{key: value for key, value in item.items() if value is not None}}
    if stored["mode"] not in ("input", "output"):
        raise invalid("mode", "Value is not input or output")
    return stored


def _execution(section: Mapping[str, Any]) -> Document:
    stored = dict(section)
    if section.get("artifacts") is not None:
        stored["artifacts"] = [artifact(item) for item in fields.items(section, "artifacts")]
    return stored


def _models(section: Mapping[str, Any]) -> Document:
    stored: Document = {}
    for kind in ("input", "output"):
        if section.get(kind) is not None:
            listed = fields.items(section, kind)
            for item in listed:
                fields.required(item, "name")
                fields.required(item, "model")
            stored[kind] = [dict(item) for item in listed]
    return stored


_SHAPES = {
    "hyperparams": parameters,
    "configuration": configuration,
    "execution": _execution,
    "models": _models,
}


def _check(found: Mapping[str, Any]) -> None:
    if "type" in found and found["type"] not in TASK_TYPES:
        raise invalid("type", f"Value must be one of {', '.join(TASK_TYPES)}")
    if "name" in found and len(found["name"].strip()) < _SHORTEST_NAME:
        raise refused_value(f"name: shorter than {_SHORTEST_NAME} characters")
