"""Claim tasks: the one place where a task leaves its queue."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from clearml_agent_clone.api.types import Entry
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.util.files import read_json, write_json

log = logging.getLogger(__name__)

LONGEST_WAIT = 25.0
"""How long a server that can wait is asked to hold a poll; under the half minute at which proxies close a connection."""

_WHEN_FULL = 3600.0


class TaskSource(Protocol):
    """Where tasks come from: the server's queues."""

    def next(self, queue_ids: Sequence[str], *, wait: float = 0.0, claim: str = "") -> Entry | None:
        """The next task of the first queue that has one; None when there is none after ``wait`` seconds."""

    def put_back_first(self, task_id: str, queue_id: str) -> None:
        """Make the task the queue's first again."""

    @property
    def waits(self) -> bool:
        """Whether the server holds the call until a task comes, instead of answering at once."""

    @property
    def remembers_claims(self) -> bool:
        """Whether the server answers the same claim with the same task."""


class ClaimRecord:
    """The claim's id, on disk before the call that pops a task.

    A server that knows claims answers the same id with the same task, so a reply that was lost with us, or on its
    way, is asked for again by whoever comes next. The id changes only when its task is safely written down.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        record = read_json(file)
        self._id = str(record.get("claim", "")) if isinstance(record, dict) else ""

    def current(self) -> str:
        """The id to use now, made and written down if there is none."""
        if not self._id:
            self._id = uuid.uuid4().hex
            write_json(self._file, {"claim": self._id})
        return self._id

    def settled(self) -> None:
        """The task of the current id is written down elsewhere."""
        self._id = ""


class Claims:
    """Takes the next task whenever there is a slot for it.

    Args:
        source: the server's queues.
        queue_ids: by priority.
        record: see ``ClaimRecord``.
        free: how many tasks may be started now.
        accept: writes the task down and starts it; when it returns, the task is ours.
        interval: seconds between polls of a server that cannot wait.
        fair: go round the queues instead of always starting with the first.
    """

    name = "claim"

    def __init__(
        self,
        source: TaskSource,
        queue_ids: Sequence[str],
        record: ClaimRecord,
        *,
        free: Callable[[], int],
        accept: Callable[[Entry], None],
        interval: float,
        fair: bool = False,
    ) -> None:
        self._source = source
        self._queue_ids = list(queue_ids)
        self._record = record
        self._free = free
        self._accept = accept
        self._interval = interval
        self._fair = fair

    def step(self, now: float) -> float:
        """Ask once; a task that comes is accepted before this returns."""
        del now
        if self._free() <= 0:
            return _WHEN_FULL  # whoever frees a slot wakes us
        entry = self._source.next(self._queue_ids, wait=LONGEST_WAIT, claim=self._record.current())
        if entry is None:
            return 0.0 if self._source.waits else self._interval
        try:
            self._accept(entry)
        except AgentError:
            if not self._source.remembers_claims:
                self._source.put_back_first(entry.task, entry.queue)
            raise  # the same claim brings the same task again
        self._record.settled()
        if self._fair and entry.queue in self._queue_ids:
            after = self._queue_ids.index(entry.queue) + 1
            self._queue_ids = self._queue_ids[after:] + self._queue_ids[:after]
        return 0.0


def unix_time(stamp: str) -> float | None:
    """Seconds since the epoch of the server's ISO 8601 ``stamp``; None when it is empty or something else."""
    try:
        return dt.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
