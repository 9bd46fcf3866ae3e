"""The pages that list projects and tasks."""

from __future__ import annotations

import sqlite3
from typing import Any

from clearml_agent_clone.server.documents import PROJECTS, TASKS
from clearml_agent_clone.server.web.html import Html, Value, html, joined, own_link
from clearml_agent_clone.server.web.layout import section, table
from clearml_agent_clone.server.web.values import moment, status_text

_PER_PAGE = 50


def start_page(db: sqlite3.Connection, number: int) -> Html:
    """All projects, and page ``number`` (from 0) of the tasks, the latest first."""
    counts = dict(db.execute("SELECT project, COUNT(*) FROM tasks GROUP BY project"))
    projects = PROJECTS.select(db, "ORDER BY name")
    rows: list[list[Value]] = [
        [own_link(one.get("name"), "projects", one["id"]), counts.get(one["id"], 0), moment(one.get("last_update"))]
        for one in projects
    ]
    shown = table(["Project", "Tasks", "Changed"], rows, numbers=frozenset({1})) if rows else _nothing()
    return joined([section("Projects", shown), section("Tasks", _tasks(db, "", number, projects))])


def project_page(db: sqlite3.Connection, project_id: str, number: int) -> tuple[str, Html]:
    """A project's name, and page ``number`` of its tasks. Raises ``ApiFault`` 400/401."""
    project = PROJECTS.get(db, project_id)
    name = str(project.get("name", ""))
    head = html("<h1>{name}</h1><p>{about}</p>", name=name, about=project.get("description"))
    return name, joined([head, section("Tasks", _tasks(db, project_id, number, []))])


def _tasks(db: sqlite3.Connection, project: str, number: int, projects: list[dict[str, Any]]) -> Html:
    where, values = ("WHERE project = ?", (project,)) if project else ("", ())
    clause = f"{where} ORDER BY last_update DESC, id LIMIT ? OFFSET ?"
    found = TASKS.select(db, clause, (*values, _PER_PAGE + 1, number * _PER_PAGE))
    names = {one["id"]: one.get("name") for one in projects}
    rows: list[list[Value]] = [
        [
            own_link(task.get("name"), "projects", task.get("project") or "*", "tasks", task["id"], "output", "log"),
            status_text(task),
            names.get(task.get("project")) if projects else task.get("type"),
            moment(task.get("last_update")),
        ]
        for task in found[:_PER_PAGE]
    ]
    if not rows:
        return _nothing()
    base = ("projects", project) if project else ()
    pages = []
    if number:
        pages.append(own_link("Newer", *base, page=number - 1))
    if len(found) > _PER_PAGE:
        pages.append(own_link("Older", *base, page=number + 1))
    third = "Project" if projects else "Type"
    shown = [html("{one} ", one=one) for one in pages]
    return joined([table(["Name", "Status", third, "Changed"], rows), html("<p>{shown}</p>", shown=shown)])


def _nothing() -> Html:
    return html('<p class="soft">Nothing yet.</p>')
