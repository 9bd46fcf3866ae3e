"""What becomes of a task that was taken and is not run: back to the head of its queue, or failed.

For the first the server has no one call, so it takes several, any of whose answers may get lost. Adding a task twice
would run it twice; so after a call of which it is unknown whether the server acted on it, the task is looked at again, and nothing
is repeated that may have happened.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.errors import InvalidRequest, ServerBusy, ServerUnreachable, Subcode
from clearml_agent_clone.api.types import TaskStatus, text

log = logging.getLogger(__name__)

POP_TO_START = 15.0
"""Seconds after which a worker that took a task has set it in progress, or never will: the classic agent does so within
three, between one call and the next. For that long a task that is queued but in no queue may be on its way."""

_LOOK = 1.0
_ROUNDS = 8
_FIELDS = ["id", "status", "status_reason", "status_message", "status_changed", "execution.queue", "last_worker"]
_PAGE = 500
_ENQUEUED_FROM = frozenset({TaskStatus.CREATED, TaskStatus.STOPPED, TaskStatus.FAILED})


class Caller(Protocol):
    """The part of ``Session`` that is needed."""

    def call(
        self, endpoint: str, body: Mapping[str, Any] | None = None, *, retry: Retry | None = None
    ) -> dict[str, Any]: ...


@attrs.frozen
class Place:
    """Where a task stands; equal to an earlier one if nobody changed its status in between.

    ``changed`` is the server's stamp of the last change of status, ``queue`` the id of the queue that it was put into
    last, ``worker`` who reported it last.
    """

    task: str
    status: TaskStatus
    reason: str
    message: str
    changed: str
    queue: str
    worker: str = attrs.field(default="", eq=False)

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Place:
        execution = data.get("execution")
        return cls(
            text(data.get("id")),
            TaskStatus.from_wire(data.get("status")),
            text(data.get("status_reason")),
            text(data.get("status_message")),
            text(data.get("status_changed")),
            text(execution.get("queue")) if isinstance(execution, Mapping) else "",
            text(data.get("last_worker")),
        )

    def is_run_by_another_than(self, worker_id: str) -> bool:
        """Whether another worker has reported the task, and this one has not set its status since."""
        return self.worker not in {"", worker_id} and worker_id not in self.message

    @classmethod
    def of(cls, session: Caller, task_id: str, retry: Retry | None = None) -> Place | None:
        """The place of a task, None when it is gone."""
        query = {"id": [task_id], "only_fields": _FIELDS, "search_hidden": True}
        found = _dicts(session.call("tasks.get_all", query, retry=retry).get("tasks"))
        return cls.from_wire(found[0]) if found else None


def queued_places(session: Caller, retry: Retry | None = None) -> list[Place]:
    """The places of all tasks in status queued."""
    places: list[Place] = []
    while True:
        page = {"page": len(places) // _PAGE, "page_size": _PAGE, "order_by": ["id"]}
        query = {"status": [TaskStatus.QUEUED.value], "only_fields": _FIELDS, "search_hidden": True, **page}
        found = _dicts(session.call("tasks.get_all", query, retry=retry).get("tasks"))
        places += map(Place.from_wire, found)
        if len(found) < _PAGE:
            return places


def waiting_in(session: Caller, queue_id: str, retry: Retry | None = None) -> list[str]:
    """The tasks that wait in a queue, none when it is gone."""
    try:
        queue = session.call("queues.get_by_id", {"queue": queue_id}, retry=retry).get("queue")
    except InvalidRequest:
        return []
    entries = _dicts(queue.get("entries")) if isinstance(queue, Mapping) else []
    return [text(entry.get("task")) for entry in entries]


class PutBack:
    """One such undertaking; ``run`` does it.

    Args:
        session: the server.
        task_id: a task that is ours: nobody else may be running it.
        queue_id: where it came from.
        reason: for the task's record.
        message: for the task's record.
        worker_id: who took the task; one that another worker runs now is left to it.
        retry: patience with each call.
        wait: waits so many seconds.
    """

    def __init__(
        self,
        session: Caller,
        task_id: str,
        queue_id: str,
        *,
        reason: str = "",
        message: str = "",
        worker_id: str = "",
        retry: Retry | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._session = session
        self._task = task_id
        self._queue = queue_id
        words = {"status_reason": reason, "status_message": message}
        self._words = {name: value for name, value in words.items() if value}
        self._worker = worker_id
        self._retry = retry
        self._wait = wait
        self._dequeued = False
        self._enqueued_from: Place | None = None  # an enqueue was sent from there, and its answer got lost

    def run(self) -> bool:
        """Whether the task waits in a queue now, or has been taken from it again already.

        Raises:
            ServerUnreachable, ServerBusy: not settled; run it again.
        """
        for _ in range(_ROUNDS):
            place = Place.of(self._session, self._task, self._retry)
            if place is None:
                return False
            if self._enqueued_from not in {None, place}:
                self._to_front()
                return True  # it arrived: what the task is now, it became from there
            done = self._step(place)
            if done is not None:
                return done
        return False

    def _step(self, place: Place) -> bool | None:
        """One step from ``place``; None when the task is to be looked at again."""
        if place.status is TaskStatus.QUEUED:
            return self._queued(place)
        if place.status in _ENQUEUED_FROM:
            return self._enqueue(place)
        if place.status is TaskStatus.IN_PROGRESS:
            if self._worker and place.is_run_by_another_than(self._worker):
                return True
            self._end_running()
            return None
        return False

    def _queued(self, place: Place) -> bool | None:
        front = self._to_front()
        if front is not None:
            return front
        if place.queue not in {"", self._queue} and self._task in waiting_in(self._session, place.queue, self._retry):
            return True  # somebody has moved it to another queue
        try:
            # Not enqueue: on a task that is queued already some servers refuse it, and others would note "queued" as
            # the status to return to.
            self._session.call("queues.add_task", {"queue": self._queue, "task": self._task}, retry=self._retry)
        except InvalidRequest as error:
            if error.is_about(Subcode.NO_SUCH_QUEUE) or error.is_about(Subcode.NO_SUCH_TASK):
                return False
            if not error.is_about(Subcode.ALREADY_QUEUED):
                raise
        except (ServerUnreachable, ServerBusy) as error:
            if not error.may_have_acted:
                raise
            return self._settle()
        return self._to_front() is not False

    def _settle(self) -> bool | None:
        """After an addition whose answer got lost: it is there, somebody has it already, or it never came (None)."""
        waited = 0.0
        while waited < POP_TO_START:
            front = self._to_front()
            if front is not None:
                return front
            place = Place.of(self._session, self._task, self._retry)
            if place is None or place.status is not TaskStatus.QUEUED:
                return place is not None
            self._wait(_LOOK)
            waited += _LOOK
        return None

    def _enqueue(self, place: Place) -> bool | None:
        body = {"task": self._task, "queue": self._queue, **self._words}
        try:
            self._session.call("tasks.enqueue", body, retry=self._retry)
        except InvalidRequest as error:
            if error.is_about(Subcode.STATUS_FORBIDS) and place.status is TaskStatus.FAILED:
                self._move("stopped")  # old servers do not go from failed to queued
                return None
            if error.is_about(Subcode.ALREADY_QUEUED) or error.is_about(Subcode.STATUS_CHANGED):
                return None
            if error.status == 400:
                return False
            raise
        except (ServerUnreachable, ServerBusy) as error:
            if not error.may_have_acted:
                raise
            self._enqueued_from = place
            return None
        self._to_front()
        return True

    def _end_running(self) -> None:
        """Out of progress. By way of ``created``, because a pipeline that looks in this moment takes ``stopped`` for
        the end of its step; servers that do not go that way go the other.
        """
        if not self._dequeued:
            self._dequeued = True
            body = {"task": self._task, "new_status": TaskStatus.CREATED.value, **self._words}
            try:
                self._session.call("tasks.dequeue", body, retry=self._retry)
            except InvalidRequest as error:
                log.debug("dequeue: %s", error)
            else:
                return
        self._move("stopped")

    def _move(self, action: str) -> None:
        self._session.call(f"tasks.{action}", {"task": self._task, **self._words}, retry=self._retry)

    def _to_front(self) -> bool | None:
        """Whether the task is the queue's first now; None: it is not in the queue, False: there is no such queue."""
        try:
            self._session.call(
                "queues.move_task_to_front", {"queue": self._queue, "task": self._task}, retry=self._retry
            )
        except InvalidRequest as error:
            if error.is_about(Subcode.NO_SUCH_QUEUE):
                return False
            if error.status != 400:
                raise
            return None
        return True


def rescue(session: Caller, seen: Place, *, reason: str, message: str, retry: Retry | None = None) -> bool:
    """Put a task back that was queued but in no queue; several agents may try, and one of them succeeds.

    The task goes by way of ``created``, because that is a step which the server does for one caller only, and which
    leaves a trace for the others.

    Args:
        session: the server.
        seen: how the task has been found for long.
        reason: for the task's record.
        message: likewise; one that nobody else uses, so that it tells our own work after a lost answer.
        retry: patience with each of the calls.

    Returns:
        False when somebody else has taken care of it.
    """
    task_id = seen.task
    if Place.of(session, task_id, retry) != seen or task_id in waiting_in(session, seen.queue, retry):
        return False
    body = {"task": task_id, "new_status": TaskStatus.CREATED.value, "status_reason": reason, "status_message": message}
    try:
        ours = bool(session.call("tasks.dequeue", body, retry=retry).get("updated"))
    except InvalidRequest as error:
        log.debug("dequeue: %s", error)
        ours = True  # a server that refuses this for a task in no queue leaves us without the safe way
    if not ours and not is_ours(session, task_id, message, retry):
        return False
    return PutBack(session, task_id, seen.queue, reason=reason, message=message, retry=retry).run()


def is_ours(session: Caller, task_id: str, message: str, retry: Retry | None = None) -> bool:
    """Whether the task is where ``rescue`` with this message leaves it between its two steps."""
    place = Place.of(session, task_id, retry)
    return place is not None and place.status is TaskStatus.CREATED and place.message == message


def fail_taken(
    session: Caller,
    task_id: str,
    worker_id: str,
    *,
    reason: str,
    message: str = "",
    retry: Retry | None = None,
) -> bool:
    """Set a task failed that ``worker_id`` took, unless it has gone on without us: waits again, runs elsewhere, ended.

    Returns:
        Whether it is failed now, and by us.
    """
    place = Place.of(session, task_id, retry)
    if place is None:
        return False
    if place.status is TaskStatus.QUEUED:
        if task_id in waiting_in(session, place.queue, retry):
            return False
    elif place.status is not TaskStatus.IN_PROGRESS or place.is_run_by_another_than(worker_id):
        return False
    words = {"status_reason": reason, "status_message": message}
    body = {"task": task_id, **{name: value for name, value in words.items() if value}}
    try:
        session.call("tasks.failed", {**body, "force": place.status is TaskStatus.QUEUED}, retry=retry)
    except InvalidRequest as error:
        log.warning("task %s could not be set failed: %s", task_id, error)
        return False
    return True


def _dicts(found: object) -> list[Mapping[str, Any]]:
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
