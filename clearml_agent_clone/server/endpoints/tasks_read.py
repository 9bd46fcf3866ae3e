"""tasks.*: looking."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import PROJECTS, TASKS
from clearml_agent_clone.server.listing import Listing, get_all
from clearml_agent_clone.server.query import Where, listed
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.store import Collection


@endpoint("tasks.get_by_id")
def get_by_id(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return {"task": TASKS.get(call.db, fields.required(body, "task"))}


@endpoint("tasks.get_all")
def get_all_tasks(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return listing_in_projects(call, TASKS, body, expanded=False).reply("tasks")


@endpoint("tasks.get_all_ex")
def get_all_ex(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return listing_in_projects(call, TASKS, body, expanded=True).reply("tasks")


@endpoint("tasks.get_by_id_ex")
def get_by_id_ex(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    wanted = {"id": fields.texts(body, "id"), "only_fields": fields.texts(body, "only_fields")}
    fields.required({"id": ",".join(wanted["id"])}, "id")
    return get_all(call, TASKS, wanted, expanded=True).reply("tasks")


@endpoint("tasks.get_types", since="2.8")
def get_types(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    projects = fields.texts(body, "projects")
    where = listed(TASKS, "project", list(projects)) if projects else Where()
    rows = call.db.execute(
        f"SELECT DISTINCT type FROM tasks {where.clause} ORDER BY type",  # noqa: S608 - the condition is built from checked names
        where.params,
    )
    return {"types": [row[0] for row in rows if row[0]]}


@endpoint("tasks.get_hyper_params", since="2.9")
def get_hyper_params(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    found = []
    for key in fields.texts(body, "tasks"):
        sections = TASKS.get(call.db, key, "hyperparams").get("hyperparams", {})
        params = [sections[section][name] for section in sorted(sections) for name in sorted(sections[section])]
        found.append({"task": key, "hyperparams": params})
    return {"params": found}


@endpoint("tasks.get_configurations", since="2.9")
def get_configurations(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    names = fields.texts(body, "names")
    found = []
    for key in fields.texts(body, "tasks"):
        items = TASKS.get(call.db, key, "configuration").get("configuration", {})
        wanted = [items[name] for name in sorted(items) if not names or name in names]
        found.append({"task": key, "configuration": wanted})
    return {"configurations": found}


@endpoint("tasks.get_configuration_names", since="2.9")
def get_configuration_names(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    skip_empty = fields.flag(body, "skip_empty", default=True)
    found = []
    for key in fields.texts(body, "tasks"):
        items = TASKS.get(call.db, key, "configuration").get("configuration", {})
        names = [name for name in sorted(items) if items[name].get("value") or not skip_empty]
        found.append({"task": key, "names": names})
    return {"configurations": found}


def listing_in_projects(call: Call, collection: Collection, body: dict[str, Any], *, expanded: bool) -> Listing:
    """``get_all`` where a filter on ``project`` may reach into the projects below."""
    if fields.flag(body, "include_subprojects") and body.get("project"):
        body = {**body, "project": with_subprojects(call, fields.texts(body, "project"))}
    return get_all(call, collection, body, expanded=expanded)


def with_subprojects(call: Call, projects: list[str]) -> list[str]:
    """The ids in ``projects`` and those of all projects below them."""
    below = PROJECTS.select(
        call.db,
        "WHERE EXISTS (SELECT 1 FROM json_each(projects.doc, '$.path') AS each"
        " WHERE each.value IN (SELECT value FROM json_each(?)))",
        (fields.as_json(projects),),
    )
    return [*projects, *(project["id"] for project in below)]
