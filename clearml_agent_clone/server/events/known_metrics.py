"""projects.get_unique_metric_variants: the metrics that a project's tasks or models have reported."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import PROJECTS
from clearml_agent_clone.server.events.metrics import digest
from clearml_agent_clone.server.registry import Call, endpoint

_NAMES = "SELECT DISTINCT json_extract(entry.value, '$.metric'), json_extract(entry.value, '$.variant')"
_OF_TASKS = (
    f"{_NAMES} FROM tasks AS owner JOIN tasks_parts AS part ON part.id = owner.id AND part.part = 'last_metrics',"
    " json_each(part.doc) AS variants, json_each(variants.value) AS entry"
)
_OF_MODELS = (
    f"{_NAMES} FROM models AS owner, json_each(owner.doc, '$.last_metrics') AS variants,"
    " json_each(variants.value) AS entry"
)


@endpoint("projects.get_unique_metric_variants")
def get_unique_metric_variants(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    where, values = _condition(call.db, body)
    source = _OF_MODELS if fields.flag(body, "model_metrics") else _OF_TASKS
    rows = call.db.execute(f"{source} {where} ORDER BY 1, 2", values)
    return {
        "metrics": [
            {"metric": metric, "metric_hash": digest(metric), "variant": variant, "variant_hash": digest(variant)}
            for metric, variant in rows
        ]
    }


def _condition(db: sqlite3.Connection, body: fields.Body) -> tuple[str, list[str]]:
    ids = fields.texts(body, "ids")
    if ids:
        return "WHERE owner.id IN (SELECT value FROM json_each(?))", [json.dumps(ids)]
    project = fields.text(body, "project")
    if not project:
        return "", []
    name = str(PROJECTS.get(db, project).get("name", ""))
    if not fields.flag(body, "include_subprojects", default=True):
        return "WHERE owner.project = ?", [project]
    inside = "SELECT id FROM projects WHERE substr(name, 1, length(?)) = ?"
    return f"WHERE owner.project = ? OR owner.project IN ({inside})", [project, f"{name}/", f"{name}/"]
