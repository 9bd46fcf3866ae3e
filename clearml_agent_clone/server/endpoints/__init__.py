"""The API's endpoints, one module per service or part of one. Importing this package registers them all."""

from clearml_agent_clone.server.endpoints import (
    auth,
    debug,
    events,
    models,
    models_status,
    projects,
    queue_next,
    queues,
    server,
    tasks_edit,
    tasks_params,
    tasks_read,
    tasks_status,
    users,
    worker_stats,
    workers,
)

__all__ = [
    "auth",
    "debug",
    "events",
    "models",
    "models_status",
    "projects",
    "queue_next",
    "queues",
    "server",
    "tasks_edit",
    "tasks_params",
    "tasks_read",
    "tasks_status",
    "users",
    "worker_stats",
    "workers",
]
