"""Put a task that was taken back to the head of its queue, whatever became of it since.

The server has no such call, so it takes several, any of whose answers may get lost. Adding a task twice would run it
twice; so after a call of which it is unknown whether the server acted on it, the task is looked at again, and nothing
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
from clearml_agent_clone.api.types import TaskStatus

log = logging.getLogger(__name__)

POP_TO_START = 15.0
"""Seconds after which a worker that took a task has set it in progress, or never will: the classic agent does so within
three, between one call and the next. For that long a task that is queued but in no queue may be on its way."""

_LOOK = 1.0
_ROUNDS = 8
_FIELDS = ["id", "status", "status_reason", "status_message", "status_changed", "execution.queue"]
_ENQUEUED_FROM = frozenset({TaskStatus.CREATED, TaskStatus.STOPPED, TaskStatus.FAILED})


class Caller(Protocol):
    """The part of ``Session`` that is needed."""

    def call(
        self, endpoint: str, body: Mapping[str, Any] | None = None, *, retry: Retry | None = None
    ) -> dict[str, Any]: ...


@attrs.frozen
class Place:
    """Where a task stands; equal to an earlier one if nobody changed its status in between."""

    status: TaskStatus
    reason: str
    message: str
    changed: str
    queue: str

    @classmethod
    def of(cls, session: Caller, task_id: str, retry: Retry | None = None) -> Place | None:
        """The place of a task, None when it is gone."""
        query = {"id": [task_id], "only_fields": _FIELDS, "search_hidden": True}
        found = session.call("tasks.get_all", query, retry=retry).get("tasks")
        if not isinstance(found, list) or not found or not isinstance(found[0], Mapping):
            return None
        task = found[0]
        execution = task.get("execution")
        return cls(
            TaskStatus.from_wire(task.get("status")),
            str(task.get("status_reason") or ""),
            str(task.get("status_message") or ""),
            str(task.get("status_changed") or ""),
            str(execution.get("queue") or "") if isinstance(execution, Mapping) else "",
        )


class PutBack:
    """One such undertaking; ``run`` does it.

    Args:
        session: the server.
        task_id: a task that is ours: nobody else may be running it.
        queue_id: where it came from.
        reason: for the task's record.
        message: for the task's record.
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
        retry: Retry | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._session = session
        self._task = task_id
        self._queue = queue_id
        words = {"status_reason": reason, "status_message": message}
        self._words = {name: value for name, value in words.items() if value}
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
            self._end_running()
            return None
        return False

    def _queued(self, place: Place) -> bool | None:
        front = self._to_front()
        if front is not None:
            return front
        if place.queue not in {"", self._queue} and self._waits_in(place.queue):
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

    def _waits_in(self, queue_id: str) -> bool:
        try:
            queue = self._session.call("queues.get_by_id", {"queue": queue_id}, retry=self._retry).get("queue")
        except InvalidRequest:
            return False
        entries = queue.get("entries") if isinstance(queue, Mapping) else None
        return isinstance(entries, list) and any(
            isinstance(entry, Mapping) and entry.get("task") == self._task for entry in entries
        )
