"""The state machine of a task, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import PROJECTS, TASKS
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Document

_S = TaskStatus

ALLOWED: Mapping[TaskStatus, frozenset[TaskStatus]] = {
    _S.CREATED: frozenset({_S.QUEUED, _S.IN_PROGRESS}),
    _S.QUEUED: frozenset({_S.CREATED, _S.IN_PROGRESS, _S.STOPPED}),
    _S.IN_PROGRESS: frozenset({_S.STOPPED, _S.FAILED, _S.CREATED, _S.COMPLETED}),
    _S.STOPPED: frozenset(
        {
            _S.CLOSED,
            _S.CREATED,
            _S.FAILED,
            _S.QUEUED,
            _S.IN_PROGRESS,
            _S.PUBLISHED,
            _S.PUBLISHING,
            _S.COMPLETED,
        }
    ),
    _S.CLOSED: frozenset({_S.CREATED, _S.FAILED, _S.PUBLISHED, _S.PUBLISHING, _S.STOPPED}),
    _S.FAILED: frozenset({_S.CREATED, _S.STOPPED, _S.PUBLISHED, _S.QUEUED}),
    _S.COMPLETED: frozenset({_S.PUBLISHED, _S.IN_PROGRESS, _S.CREATED}),
    _S.PUBLISHING: frozenset({_S.PUBLISHED}),
    _S.PUBLISHED: frozenset(),
}
"""Where a task may go from a status. Staying where it is, is always allowed."""


def may_become(old: TaskStatus, new: TaskStatus) -> bool:
    """Whether a task may go from ``old`` to ``new`` without force."""
    return old is new or new in ALLOWED.get(old, frozenset())


def status_of(task: Document) -> TaskStatus:
    return TaskStatus.from_wire(task.get("status"))


def refuse(task: Document, wanted: str) -> ApiFault:
    """The answer to a change of status that the table does not allow."""
    return ApiFault(
        400,
        110,
        f"Invalid task status: task={task['id']}, current_status={task.get('status')}, new_status={wanted}",
        {"current_status": task.get("status"), "new_status": wanted},
    )


def change_status(
    call: Call,
    task: Document,
    new: TaskStatus,
    *,
    reason: str = "",
    message: str = "",
    force: bool = False,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Move ``task`` to ``new`` and record when and why.

    Args:
        call: the request.
        task: the task's head as it is stored; not changed.
        new: the status to go to.
        reason: becomes ``status_reason``.
        message: becomes ``status_message``.
        force: do not ask the table.
        extra: further fields to set (None removes), with dotted names.

    Returns:
        What was set, as the endpoints answer it in ``fields``.

    Raises:
        ApiFault: 400/110, the table does not allow it.
    """
    old = status_of(task)
    if not force and not may_become(old, new):
        raise refuse(task, new.value)
    now = fields.stamp(call.now)
    changes: dict[str, Any] = {
        "status": new.value,
        "status_reason": reason,
        "status_message": message,
        "status_changed": now,
        **touched(call),
        **(extra or {}),
    }
    ran = {"active_duration": active_seconds(call, task)} if old is _S.IN_PROGRESS is not new else {}
    TASKS.patch(call.db, task["id"], {**ran, **changes})
    touch_project(call, task.get("project"))
    return changes


def touched(call: Call) -> dict[str, Any]:
    """The fields that say when and by whom a task was last changed."""
    now = fields.stamp(call.now)
    return {"last_update": now, "last_change": now, "last_changed_by": call.user.user}


def touch_project(call: Call, project: str | None) -> None:
    """Note that something happened in ``project``."""
    if project and PROJECTS.exists(call.db, project):
        PROJECTS.patch(call.db, project, {"last_update": fields.stamp(call.now)})


def active_seconds(call: Call, task: Document) -> int | None:
    """How long the task has been running."""
    started = fields.parse_stamp(task.get("started") or "")
    return None if started is None else max(0, int((call.now - started).total_seconds()))
