"""Find the task that a lost answer took with it, on servers that do not know claims.

There ``queues.get_next_task`` takes the task out of its queue, and if the answer does not arrive nobody has it: it is
queued, but in no queue, for ever. Such a task is looked for after a poll of our own of which we do not know how it
ended, and never else: most tasks in this state have just been taken by another worker.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Collection
from typing import Protocol

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.put_back import POP_TO_START, Place
from clearml_agent_clone.worker.claims import unix_time
from clearml_agent_clone.worker.records import PollRecord, Rescue

log = logging.getLogger(__name__)

SAFE = 4 * POP_TO_START
"""Seconds for which a task has to be seen in no queue and untouched. A worker that took it would have set it in
progress in a quarter of that, unless the server is slow for it; too early, and the task would run twice."""

LOOK = 10.0
"""Seconds between two looks while there is something to watch."""

_SKEW = 300.0  # by so much the server's clock may be ahead of ours
_NOTHING_TO_DO = 3600.0
_REASON = "put back into its queue: it was taken, and the answer got lost"


class Calls(Protocol):
    """The calls on tasks."""

    def queued(self, *, retry: Retry | None = None) -> list[Place]: ...
    def rescue(self, seen: Place, *, reason: str, message: str, retry: Retry | None = None) -> bool: ...
    def half_rescued(self, task_id: str, message: str, *, retry: Retry | None = None) -> bool: ...
    def put_back(
        self, task_id: str, queue_id: str, *, reason: str = "", message: str = "", retry: Retry | None = None
    ) -> bool: ...


class QueueCalls(Protocol):
    """The calls on queues."""

    def waiting(self, queue_id: str, *, retry: Retry | None = None) -> list[str]: ...


class Reconciler:
    """Looks for lost tasks while there is doubt.

    Args:
        tasks: the server.
        queues: the server.
        polls: says whether there is doubt, and about which queues.
        held: tasks that this machine has.
        worker_id: for the tasks' record.
        clock: Unix seconds.
    """

    name = "reconcile"

    def __init__(
        self,
        tasks: Calls,
        queues: QueueCalls,
        polls: PollRecord,
        *,
        held: Callable[[], Collection[str]],
        worker_id: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tasks = tasks
        self._queues = queues
        self._polls = polls
        self._held = held
        self._worker_id = worker_id
        self._clock = clock
        self._since: dict[Place, float] = {}
        self._doubt: float | None = None
        self._doubt_seen = 0.0

    def step(self, now: float) -> float:
        """Look once, if there is doubt; put back what has been lost for long enough."""
        self._end_rescue()
        doubt = self._polls.doubt
        if doubt is None:
            self._since.clear()
            return _NOTHING_TO_DO
        if doubt != self._doubt:
            self._doubt, self._doubt_seen = doubt, now
        lost = self._lost(doubt)
        self._since = {place: self._since.get(place, now) for place in lost}
        for place, since in list(self._since.items()):
            if now - since >= SAFE:
                self._rescue(place)
                del self._since[place]
        if not self._since and now - self._doubt_seen >= SAFE and self._polls.doubt == doubt:
            self._polls.cleared()
        return LOOK if self._since else SAFE / 2

    def _lost(self, doubt: float) -> list[Place]:
        held, queue_ids = set(self._held()), set(self._polls.queue_ids)
        found = []
        for place in self._tasks.queued():
            queued_at = unix_time(place.changed)
            before = queued_at is None or queued_at <= doubt + _SKEW
            if place.queue in queue_ids and before and place.task not in held:
                found.append(place)
        waiting = {queue_id: set(self._queues.waiting(queue_id)) for queue_id in {place.queue for place in found}}
        held |= set(self._held())  # what has come in meanwhile
        return [place for place in found if place.task not in waiting[place.queue] and place.task not in held]

    def _rescue(self, place: Place) -> None:
        message = f"Changed by clearml-agent {self._worker_id} ({uuid.uuid4().hex[:8]})"
        self._polls.rescuing(Rescue(place.task, place.queue, message))
        if self._tasks.rescue(place, reason=_REASON, message=message):
            log.warning(
                "task %s was taken from queue %s and never arrived; it is put back to the head", place.task, place.queue
            )
        self._polls.rescuing(None)

    def _end_rescue(self) -> None:
        """Finish what was cut off in the middle, by an outage or by the end of an earlier daemon."""
        rescue = self._polls.rescue
        if rescue is not None:
            if self._tasks.half_rescued(rescue.task_id, rescue.message):
                self._tasks.put_back(rescue.task_id, rescue.queue_id, reason=_REASON, message=rescue.message)
                log.warning("task %s is put back to the head of its queue", rescue.task_id)
            self._polls.rescuing(None)
