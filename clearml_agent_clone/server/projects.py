"""Projects as a tree: a name with slashes lies below the projects that its parts name."""

from __future__ import annotations

import sqlite3
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import PROJECTS, new_id
from clearml_agent_clone.server.faults import ApiFault, refused_value
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Document

_SHORTEST_NAME = 3
_FEATURED = 9999
_MOST_LEVELS = 32


def project_named(call: Call, name: str) -> str:
    """The id of the project called ``name``, made with all above it when there is none."""
    found = find_by_name(call.db, clean_name(name))
    return str(found["id"]) if found else create_project(call, name, {})


def find_by_name(db: sqlite3.Connection, name: str) -> Document | None:
    found = PROJECTS.select(db, "WHERE name = ?", (name,))
    return found[0] if found else None


def clean_name(name: str) -> str:
    """``name`` without empty parts. Raises ``ApiFault`` 400/800 for one that cannot be a project's."""
    parts = [part.strip() for part in name.split("/")]
    parts = [part for part in parts if part]
    cleaned = "/".join(parts)
    if len(cleaned) < _SHORTEST_NAME or len(parts) > _MOST_LEVELS:
        raise refused_value(f"project name: shorter than {_SHORTEST_NAME} characters or too deep: {name!r}")
    return cleaned


def create_project(call: Call, name: str, found: Document) -> str:
    """Make a project and those above it that are missing; its id. The name must be free."""
    return _create(call, clean_name(name), found)


def _create(call: Call, name: str, found: Document) -> str:
    above, _, basename = name.rpartition("/")
    parent = (find_by_name(call.db, above) or PROJECTS.get(call.db, _create(call, above, {}))) if above else None
    now = fields.stamp(call.now)
    document: dict[str, Any] = {
        "id": new_id(),
        "company": call.user.company,
        "user": call.user.user,
        "name": name,
        "basename": basename,
        "description": "",
        "created": now,
        "last_update": now,
        "tags": [],
        "system_tags": [],
        "featured": _FEATURED,
        "path": [],
        **found,
    }
    if parent is not None:
        document["parent"] = parent["id"]
        document["path"] = [*parent.get("path", []), parent["id"]]
    PROJECTS.insert(call.db, document)
    return str(document["id"])


def below(db: sqlite3.Connection, project: str) -> list[Document]:
    """All projects under ``project``, at any depth."""
    return PROJECTS.select(
        db,
        "WHERE EXISTS (SELECT 1 FROM json_each(projects.doc, '$.path') AS each WHERE each.value = ?) ORDER BY name",
        (project,),
    )


def renamed(call: Call, project: Document, name: str) -> dict[str, Any]:
    """What changes on ``project`` when it is called ``name``; the projects below it are renamed at once.

    Raises:
        ApiFault: 400/801, another project has that name; 400/800, it would lie below itself.
    """
    if find_by_name(call.db, name):
        raise ApiFault(400, 801, f"Value combination already exists (unique field already contains this value): {name}")
    if name.startswith(f"{project['name']}/"):
        raise refused_value(f"project name: {name} would lie below itself")
    above, _, basename = name.rpartition("/")
    parent = PROJECTS.get(call.db, project_named(call, above)) if above else None
    path = [*parent.get("path", []), parent["id"]] if parent else []
    depth = len(project.get("path", []))
    for one in below(call.db, project["id"]):
        moved = {"name": name + one["name"][len(project["name"]) :], "path": [*path, *one["path"][depth:]]}
        PROJECTS.patch(call.db, one["id"], moved)
    return {"name": name, "basename": basename, "parent": parent["id"] if parent else None, "path": path}
