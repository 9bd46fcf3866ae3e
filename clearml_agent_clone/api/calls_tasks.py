"""Calls of the ``tasks`` service."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.errors import EndpointMissing, InvalidRequest, NotFound, Subcode
from clearml_agent_clone.api.put_back import Place, PutBack, fail_taken, is_ours, queued_places, rescue
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.api.types import Container, Requirements, Task, TaskState
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.names import did_you_mean

LOOKS_LIKE_ID = re.compile(r"[-a-f0-9]{30,}")

_STATE_FIELDS = (
    "id",
    "status",
    "status_message",
    "status_reason",
    "started",
    "last_worker",
    "runtime._abort_callback_timeout",
    "runtime._abort_poll_freq",
    "runtime._abort_callback_completed",
)
_PAGE = 500


class Tasks:
    """Reading tasks, and moving them through their statuses."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, task_id: str, *, retry: Retry | None = None) -> Task:
        """The whole task.

        Raises:
            NotFound: there is no task with this id.
        """
        return Task.from_wire(self._raw(task_id, retry))

    def as_sent(self, task_id: str, *, retry: Retry | None = None) -> Mapping[str, Any]:
        """The whole task as the server sends it, for programs of the user's that read what we do not.

        Raises:
            NotFound: there is no task with this id.
        """
        return self._raw(task_id, retry)

    def find(self, name_or_id: str) -> Task:
        """The task with this id, or else the only one with this name (upper and lower case alike).

        Raises:
            NotFound: there is none; near names are suggested.
            UserError: several tasks have this name.
        """
        if LOOKS_LIKE_ID.fullmatch(name_or_id):
            return self.get(name_or_id)
        similar = self._search(name=pattern_of(name_or_id), search_hidden=True)
        ids = [id_ for id_, name in similar if name.casefold() == name_or_id.casefold()]
        if len(ids) == 1:
            return self.get(ids[0])
        if ids:
            shown = ", ".join(ids[:10]) + (" ..." if len(ids) > 10 else "")
            raise UserError(
                f'{len(ids)} tasks have the name "{name_or_id}": {shown}', remedy="Use an id", code="task-ambiguous"
            )
        names = [name for _, name in similar or self._search(order_by=["-last_update"])]
        raise _no_task(name_or_id, did_you_mean(name_or_id, names))

    def status(self, task_id: str, *, retry: Retry | None = None) -> TaskState | None:
        """The status of one task, and what the SDK has registered for its abort; None when the task is gone."""
        return self.states([task_id], retry=retry).get(task_id)

    def states(self, task_ids: Collection[str], *, retry: Retry | None = None) -> dict[str, TaskState]:
        """The same for several tasks in one call; those that are gone are left out."""
        if not task_ids:
            return {}
        body = {"id": list(task_ids), "only_fields": list(_STATE_FIELDS), "search_hidden": True}
        if len(task_ids) > 1:
            body |= {"page": 0, "page_size": len(task_ids)}
        states = map(TaskState.from_wire, _tasks(self._session.call("tasks.get_all", body, retry=retry)))
        return {state.id: state for state in states}

    def started(
        self, task_id: str, *, reason: str = "", message: str = "", force: bool = False, retry: Retry | None = None
    ) -> None:
        """Set the task in progress; ``force`` does so from any status."""
        self._move("started", task_id, reason, message, force=force, retry=retry)

    def completed(
        self, task_id: str, *, reason: str = "", message: str = "", force: bool = False, retry: Retry | None = None
    ) -> None:
        """Set the task completed."""
        self._move("completed", task_id, reason, message, force=force, retry=retry)

    def failed(
        self, task_id: str, *, reason: str = "", message: str = "", force: bool = False, retry: Retry | None = None
    ) -> None:
        """Set the task failed."""
        self._move("failed", task_id, reason, message, force=force, retry=retry)

    def stopped(
        self, task_id: str, *, reason: str = "", message: str = "", force: bool = False, retry: Retry | None = None
    ) -> None:
        """Set the task stopped."""
        self._move("stopped", task_id, reason, message, force=force, retry=retry)

    def ping(self, task_id: str, *, retry: Retry | None = None) -> None:
        """Tell the server that the task is alive, so that its watchdog leaves it alone."""
        self._session.call("tasks.ping", {"task": task_id}, retry=retry)

    def enqueue(self, task_id: str, queue_id: str, *, reason: str = "", message: str = "") -> None:
        """Put the task at the end of a queue. Raises ``InvalidRequest`` (``ALREADY_QUEUED``) when it is in one."""
        body = {"task": task_id, "queue": queue_id, "status_reason": reason, "status_message": message}
        self._session.call("tasks.enqueue", _given(body))

    def dequeue(self, task_id: str, *, new_status: str = "", reason: str = "", message: str = "") -> bool:
        """Take the task out of its queue; whether the server changed anything.

        Args:
            task_id: a running task is changed too: the server sets it to ``new_status``.
            new_status: the status afterwards; by default the one before it was queued.
            reason: for the task's record.
            message: for the task's record.
        """
        body = {"task": task_id, "new_status": new_status, "status_reason": reason, "status_message": message}
        return bool(self._session.call("tasks.dequeue", _given(body)).get("updated"))

    def put_back(
        self,
        task_id: str,
        queue_id: str,
        *,
        reason: str = "",
        message: str = "",
        worker_id: str = "",
        retry: Retry | None = None,
    ) -> bool:
        """Make a task that we took the first of its queue again, whatever it has become: queued in no queue, in
        progress, a draft, stopped or failed. Nothing that it has produced is deleted. Safe to repeat, also after an
        error.

        Args:
            task_id: nobody else may be running it.
            queue_id: the queue it came from.
            reason: for the task's record; a task that was only popped keeps its own.
            message: likewise.
            worker_id: who took it. With this a task that another worker has begun to run is left to it, which counts
                as True; of use when time has passed.
            retry: patience with each of the calls.

        Returns:
            True when it waits (in another queue, if somebody has moved it) or has been taken again by a worker; False
            when it is gone, completed or published, or the queue is gone: somebody has to decide what becomes of it.

        Raises:
            ServerUnreachable, ServerBusy: it is not settled yet.
        """
        return PutBack(
            self._session, task_id, queue_id, reason=reason, message=message, worker_id=worker_id, retry=retry
        ).run()

    def fail_taken(
        self, task_id: str, worker_id: str, *, reason: str, message: str = "", retry: Retry | None = None
    ) -> bool:
        """Set a task failed that ``worker_id`` took; False when it has gone on without us: see ``fail_taken`` there."""
        return fail_taken(self._session, task_id, worker_id, reason=reason, message=message, retry=retry)

    def queued(self, *, retry: Retry | None = None) -> list[Place]:
        """Where every task in status queued stands."""
        return queued_places(self._session, retry)

    def rescue(self, seen: Place, *, reason: str, message: str, retry: Retry | None = None) -> bool:
        """Put a task back that is queued but in no queue, once among all who try; see ``rescue`` there."""
        return rescue(self._session, seen, reason=reason, message=message, retry=retry)

    def half_rescued(self, task_id: str, message: str, *, retry: Retry | None = None) -> bool:
        """Whether a ``rescue`` with this message was cut off in the middle; ``put_back`` ends it."""
        return is_ours(self._session, task_id, message, retry)

    def clone(self, task_id: str, *, name: str = "", parent: str = "") -> str:
        """Make a copy in status created and return its id; ``parent`` is the id of the task it is recorded under."""
        body = {"task": task_id, "new_task_name": name, "new_task_parent": parent}
        return str(self._session.call("tasks.clone", _given(body))["id"])

    def edit(self, task_id: str, *, script: Mapping[str, Any], retry: Retry | None = None) -> None:
        """Change some fields of the task's script, whatever its status; fields that are not given stay."""
        self._session.call("tasks.edit", {"task": task_id, "force": True, "script": dict(script)}, retry=retry)

    def set_requirements(self, task_id: str, requirements: Requirements, *, retry: Retry | None = None) -> None:
        """Replace the task's recorded packages."""
        body = {"task": task_id, "requirements": requirements.to_wire()}
        self._session.call("tasks.set_requirements", body, retry=retry)

    def set_container(self, task_id: str, container: Container, *, retry: Retry | None = None) -> None:
        """Replace the task's recorded container."""
        body = {"task": task_id, "force": True, "container": attrs.asdict(container)}
        self._session.call("tasks.edit", body, retry=retry)

    def set_runtime(
        self, task_id: str, values: Mapping[str, str], *, remove: Iterable[str] = (), retry: Retry | None = None
    ) -> None:
        """Set and remove some of the task's runtime values.

        Servers before 2.34 can only replace them all: there what another program writes in the same moment is lost.
        """
        gone = list(remove)
        if self._session.server.speaks(2, 34):
            body = {"task": task_id, "add_or_update": dict(values), "remove": gone, "force": True}
            try:
                self._session.call("tasks.edit_runtime", body, retry=retry)
            except EndpointMissing:
                pass  # an edition that says 2.34 and lacks the call: the old way then
            else:
                return
        query = {"id": [task_id], "only_fields": ["id", "runtime"], "search_hidden": True}
        found = _tasks(self._session.call("tasks.get_all", query, retry=retry))
        current = found[0].get("runtime") if found else None
        kept = {
            name: value for name, value in (current.items() if isinstance(current, Mapping) else ()) if name not in gone
        }
        body = {"task": task_id, "force": True, "runtime": {**kept, **values}}
        self._session.call("tasks.edit", body, retry=retry)

    def _move(self, action: str, task_id: str, reason: str, message: str, *, force: bool, retry: Retry | None) -> None:
        body = {"task": task_id, "status_reason": reason, "status_message": message}
        self._session.call(f"tasks.{action}", {**_given(body), "force": force}, retry=retry)

    def _raw(self, task_id: str, retry: Retry | None) -> Mapping[str, Any]:
        try:
            data = self._session.call("tasks.get_by_id", {"task": task_id}, retry=retry)
        except InvalidRequest as error:
            if error.is_about(Subcode.NO_SUCH_TASK):
                raise _no_task(task_id) from None
            raise
        task = data.get("task")
        if not isinstance(task, Mapping):
            raise _no_task(task_id)
        return task

    def _search(self, **conditions: Any) -> list[tuple[str, str]]:
        query = {**conditions, "only_fields": ["id", "name"], "page": 0, "page_size": _PAGE}
        found = _tasks(self._session.call("tasks.get_all", query))
        return [(str(task.get("id")), str(task.get("name"))) for task in found]


def pattern_of(name: str) -> str:
    """The regular expression, as servers read them, for names that contain ``name`` in upper or lower case."""
    return f"(?i){re.escape(name)}"


def _tasks(data: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = data.get("tasks")
    return [task for task in tasks if isinstance(task, Mapping)] if isinstance(tasks, list) else []


def _given(fields: Mapping[str, str]) -> dict[str, Any]:
    """Without the empty ones: an empty ``status_message`` would wipe out the one that is there."""
    return {name: value for name, value in fields.items() if value}


def _no_task(name_or_id: str, suggestion: str = "") -> NotFound:
    return NotFound(
        f'there is no task "{name_or_id}"',
        remedy=suggestion or "Copy the id from the task's page; has the task been deleted?",
        code="task-not-found",
    )
