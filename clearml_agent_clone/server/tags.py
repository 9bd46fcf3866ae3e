"""The labels that are in use."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Collection
from clearml_agent_clone.server.tasks.shape import unique
from clearml_agent_clone.server.tasks.status import touched


def change_tags(call: Call, collection: Collection, body: fields.Body) -> dict[str, Any]:
    """``update_tags``: add ``add_tags`` to each of ``ids``, take ``remove_tags`` away."""
    added, removed = fields.texts(body, "add_tags"), set(fields.texts(body, "remove_tags"))
    keys = fields.texts(body, "ids")
    for key in keys:
        document = collection.get(call.db, key, "id")
        tags = [tag for tag in unique([*document.get("tags", []), *added]) if tag not in removed]
        collection.patch(call.db, key, {"tags": tags, **touched(call)})
    return {"updated": len(keys)}


def tags_of(call: Call, table: str, body: fields.Body) -> dict[str, Any]:
    """The tags (and, with ``include_system``, the system tags) of all documents in ``table``, sorted.

    ``projects`` limits them to those projects, ``filter`` to documents that have the tags it names.
    """
    names = ["tags", *(["system_tags"] if fields.flag(body, "include_system") else [])]
    projects = fields.as_json(fields.texts(body, "projects"))
    wanted = {name: fields.texts(fields.mapping(body, "filter"), name) for name in ("tags", "system_tags")}
    found: dict[str, set[str]] = {name: set() for name in names}
    rows = call.db.execute(
        f"SELECT json_extract(doc, '$.tags'), json_extract(doc, '$.system_tags') FROM {table}"  # noqa: S608 - our own constant
        " WHERE ? = '[]' OR project IN (SELECT value FROM json_each(?))",
        (projects, projects),
    )
    for row in rows:
        has = {name: fields.from_json_list(text) for name, text in zip(("tags", "system_tags"), row, strict=True)}
        if all(not wanted[name] or set(wanted[name]).intersection(has[name]) for name in wanted):
            for name in names:
                found[name].update(has[name])
    return {name: sorted(found[name]) for name in names}
