"""projects.*"""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server import fields, projects
from clearml_agent_clone.server.documents import MODELS, PROJECTS, TASKS
from clearml_agent_clone.server.endpoints.tasks_read import with_subprojects
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.listing import get_all
from clearml_agent_clone.server.query import Where
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.store import Document
from clearml_agent_clone.server.tags import tags_of
from clearml_agent_clone.server.tasks import cleanup, shape

Body = dict[str, Any]
_TEXTS = ("description", "default_output_destination")
_ARCHIVED = "archived"


@endpoint("projects.create", writes=True)
def create(call: Call, body: Body) -> Body:
    name = projects.clean_name(fields.required(body, "name"))
    if projects.find_by_name(call.db, name):
        raise _taken(name)
    return {"id": projects.create_project(call, name, _given(body))}


@endpoint("projects.update", writes=True)
def update(call: Call, body: Body) -> Body:
    project = PROJECTS.get(call.db, fields.required(body, "project"))
    changes = _given(body)
    if body.get("name") is not None:
        name = projects.clean_name(fields.text(body, "name"))
        if name != project["name"]:
            changes.update(projects.renamed(call, project, name))
    if not changes:
        return {"updated": 0, "fields": {}}
    changes["last_update"] = fields.stamp(call.now)
    PROJECTS.patch(call.db, project["id"], changes)
    return {"updated": 1, "fields": changes}


@endpoint("projects.delete", writes=True)
def delete(call: Call, body: Body) -> Body:
    project = PROJECTS.get(call.db, fields.required(body, "project"))
    ids = [project["id"], *(one["id"] for one in projects.below(call.db, project["id"]))]
    tasks = _inside(call, "tasks", ids)
    models = _inside(call, "models", ids)
    contents = fields.flag(body, "delete_contents")
    if not fields.flag(body, "force"):
        for kind, code, inside in (("tasks", 402, tasks), ("models", 403, models)):
            if any(_ARCHIVED not in one.get("system_tags", []) for one in inside):
                raise ApiFault(400, code, f"Project has associated {kind}: id={project['id']}")
    removed: Body = {"deleted_tasks": 0, "deleted_models": 0, "disassociated_tasks": 0}
    for task in tasks:
        if contents:
            removed["deleted_models"] += cleanup.delete(call, task["id"], {"force": True})["deleted_models"]
            removed["deleted_tasks"] += 1
        else:
            TASKS.patch(call.db, task["id"], {"project": None})
            removed["disassociated_tasks"] += 1
    for model in models:
        if contents:
            removed["deleted_models"] += MODELS.delete(call.db, model["id"])
        elif MODELS.exists(call.db, model["id"]):
            MODELS.patch(call.db, model["id"], {"project": None})
    for one in ids:
        PROJECTS.delete(call.db, one)
    return {"deleted": len(ids), "urls": {"model_urls": [], "event_urls": [], "artifact_urls": []}, **removed}


@endpoint("projects.validate_delete", since="2.14")
def validate_delete(call: Call, body: Body) -> Body:
    project = PROJECTS.get(call.db, fields.required(body, "project"))
    ids = [project["id"], *(one["id"] for one in projects.below(call.db, project["id"]))]
    reply: Body = {"reports": 0, "non_archived_reports": 0, "pipelines": 0, "datasets": 0}
    for kind in ("tasks", "models"):
        inside = _inside(call, kind, ids)
        reply[kind] = len(inside)
        reply[f"non_archived_{kind}"] = sum(_ARCHIVED not in one.get("system_tags", []) for one in inside)
    return reply


@endpoint("projects.get_by_id")
def get_by_id(call: Call, body: Body) -> Body:
    return {"project": PROJECTS.get(call.db, fields.required(body, "project"))}


@endpoint("projects.get_all")
def get_all_projects(call: Call, body: Body) -> Body:
    return get_all(call, PROJECTS, body, also=_top_only(body)).reply("projects")


@endpoint("projects.get_all_ex")
def get_all_ex(call: Call, body: Body) -> Body:
    listing = get_all(call, PROJECTS, body, also=_top_only(body), expanded=True)
    if fields.flag(body, "include_stats"):
        for project in listing.documents:
            if "id" in project:
                project["stats"] = _stats(call, project["id"])
    return listing.reply("projects")


@endpoint("projects.get_task_tags", since="2.8")
def get_task_tags(call: Call, body: Body) -> Body:
    return tags_of(call, "tasks", body)


@endpoint("projects.get_model_tags", since="2.8")
def get_model_tags(call: Call, body: Body) -> Body:
    return tags_of(call, "models", body)


@endpoint("projects.get_hyper_parameters", since="2.9")
def get_hyper_parameters(call: Call, body: Body) -> Body:
    ids = [PROJECTS.get(call.db, fields.required(body, "project"))["id"]]
    if fields.flag(body, "include_subprojects", default=True):
        ids = with_subprojects(call, ids)
    rows = call.db.execute(
        "SELECT DISTINCT section.key, item.key FROM tasks JOIN tasks_parts AS part ON part.id = tasks.id"
        " AND part.part = 'hyperparams', json_each(part.doc) AS section, json_each(section.value) AS item"
        " WHERE tasks.project IN (SELECT value FROM json_each(?)) ORDER BY 1, 2",
        (fields.as_json(ids),),
    ).fetchall()
    size, page = fields.integer(body, "page_size", 500), fields.integer(body, "page")
    shown = rows[page * size : (page + 1) * size]
    return {
        "parameters": [{"section": section, "name": name} for section, name in shown],
        "total": len(rows),
        "remaining": max(0, len(rows) - (page + 1) * size),
    }


def _given(body: fields.Body) -> Body:
    found: Body = {name: fields.text(body, name) for name in _TEXTS if body.get(name) is not None}
    for name in ("tags", "system_tags"):
        if body.get(name) is not None:
            found[name] = shape.unique(fields.texts(body, name))
    return found


def _top_only(body: fields.Body) -> list[Where]:
    if not fields.flag(body, "shallow_search") or any(body.get(name) for name in ("id", "parent", "name")):
        return []
    return [Where("projects.parent IS NULL")]


def _inside(call: Call, kind: str, ids: list[str]) -> list[Document]:
    collection = TASKS if kind == "tasks" else MODELS
    return collection.select(call.db, "WHERE project IN (SELECT value FROM json_each(?))", (fields.as_json(ids),))


def _stats(call: Call, project: str) -> Body:
    counts: dict[str, dict[str, int]] = {"active": {}, "archived": {}}
    for task in _inside(call, "tasks", with_subprojects(call, [project])):
        state = "archived" if _ARCHIVED in task.get("system_tags", []) else "active"
        counts[state][task["status"]] = counts[state].get(task["status"], 0) + 1
    return {
        state: {"status_count": found, "total_tasks": sum(found.values()), "running_tasks": found.get("in_progress", 0)}
        for state, found in counts.items()
    }


def _taken(name: str) -> ApiFault:
    return ApiFault(
        400, 801, f"Value combination already exists (unique field already contains this value): name={name}"
    )
