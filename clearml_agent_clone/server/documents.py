"""The four kinds of documents: tasks, models, projects, queues."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from clearml_agent_clone.server.faults import no_such_model, no_such_project, no_such_queue, no_such_task
from clearml_agent_clone.server.store import Collection

_OWNED = frozenset({"id", "name", "user", "company", "company_origin", "created", "tags", "system_tags", "last_update"})

TASKS = Collection(
    kind="task",
    table="tasks",
    missing=no_such_task,
    fields=_OWNED
    | {
        "type",
        "status",
        "comment",
        "report",
        "report_assets",
        "started",
        "completed",
        "active_duration",
        "parent",
        "project",
        "output",
        "execution",
        "container",
        "models",
        "script",
        "status_changed",
        "status_message",
        "status_reason",
        "published",
        "last_worker",
        "last_worker_report",
        "last_change",
        "last_changed_by",
        "last_iteration",
        "last_metrics",
        "unique_metrics",
        "metric_stats",
        "hyperparams",
        "configuration",
        "runtime",
        "enqueue_status",
    },
    parts=frozenset({"script", "execution", "hyperparams", "configuration", "last_metrics", "report"}),
    columns=frozenset({"id", "name", "status", "project", "parent", "type", "user", "created", "last_update"}),
    dates=frozenset(
        {
            "created",
            "started",
            "completed",
            "status_changed",
            "published",
            "last_worker_report",
            "last_update",
            "last_change",
        }
    ),
    numbers=frozenset({"active_duration", "last_iteration", "last_metrics"}),
    patterns=frozenset({"name", "comment", "report"}),
    searched=("id", "name", "comment", "script.repository", "script.entry_point"),
    references={
        "project": "projects",
        "parent": "tasks",
        "execution.queue": "queues",
        "execution.model": "models",
        "output.model": "models",
    },
)

MODELS = Collection(
    kind="model",
    table="models",
    missing=no_such_model,
    fields=_OWNED
    | {
        "task",
        "parent",
        "project",
        "comment",
        "framework",
        "design",
        "labels",
        "uri",
        "ready",
        "ui_cache",
        "metadata",
        "last_change",
        "last_changed_by",
        "last_iteration",
        "last_metrics",
        "unique_metrics",
    },
    columns=frozenset({"id", "name", "project", "task", "uri", "created", "last_update"}),
    dates=frozenset({"created", "last_update", "last_change"}),
    numbers=frozenset({"last_iteration", "last_metrics"}),
    patterns=frozenset({"name", "comment"}),
    references={"project": "projects", "parent": "models", "task": "tasks"},
)

PROJECTS = Collection(
    kind="project",
    table="projects",
    missing=no_such_project,
    fields=_OWNED | {"basename", "description", "default_output_destination", "featured", "parent", "path"},
    columns=frozenset({"id", "name", "parent", "created", "last_update"}),
    dates=frozenset({"created", "last_update"}),
    patterns=frozenset({"name", "basename", "description"}),
    searched=("id", "name", "description"),
    references={"parent": "projects"},
)

QUEUES = Collection(
    kind="queue",
    table="queues",
    missing=no_such_queue,
    fields=_OWNED | {"display_name", "entries", "metadata"},
    columns=frozenset({"id", "name", "created", "last_update"}),
    dates=frozenset({"created", "last_update"}),
    patterns=frozenset({"name", "display_name"}),
    searched=("id", "name"),
)

BY_TABLE: Mapping[str, Collection] = {one.table: one for one in (TASKS, MODELS, PROJECTS, QUEUES)}


def new_id() -> str:
    """A fresh id, 32 hex digits."""
    return uuid.uuid4().hex
