"""Claim tasks: the one place where a task leaves its queue."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from clearml_agent_clone.api.errors import InvalidRequest, ServerBusy, ServerUnreachable, Subcode
from clearml_agent_clone.api.types import Entry
from clearml_agent_clone.errors import AgentError, Cancelled
from clearml_agent_clone.worker.listening import Listening
from clearml_agent_clone.worker.records import ClaimRecord, PollRecord

log = logging.getLogger(__name__)

LONGEST_WAIT = 25.0
"""How long a server that can wait is asked to hold a poll; under the half minute at which proxies close a connection."""

FIRST_HOLD = 5.0
LONGEST_HOLD = 300.0

_WHEN_FULL = 3600.0


class TaskSource(Protocol):
    """Where tasks come from: the server's queues."""

    def next(self, queue_ids: Sequence[str], *, wait: float = 0.0, claim: str = "") -> Entry | None:
        """The next task of the first queue that has one; None when there is none after ``wait`` seconds."""

    @property
    def waits(self) -> bool:
        """Whether the server holds the call until a task comes, instead of answering at once."""

    @property
    def remembers_claims(self) -> bool:
        """Whether the server answers the same claim with the same task."""


class HoldOff:
    """A pause before the next task is taken, when the last could not be started: longer each time, until one can be.

    Without it a machine with a full disk would take the same task from the head of its queue again and again, and
    keep it from the machines that could run it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = 0.0
        self._next = FIRST_HOLD

    def failed(self) -> float:
        """A task could not be started; returns the seconds for which none is taken."""
        pause = self._next
        self._until = self._clock() + pause
        self._next = min(self._next * 2, LONGEST_HOLD)
        return pause

    def worked(self) -> None:
        """A task was started."""
        self._next = FIRST_HOLD

    def left(self) -> float:
        """Seconds until a task may be taken."""
        return max(0.0, self._until - self._clock())


class Claims:
    """Takes the next task whenever there is a slot for it.

    Args:
        source: the server's queues.
        listening: which queues, by priority.
        record: see ``ClaimRecord``.
        polls: see ``PollRecord``.
        free: how many tasks may be started now.
        accept: writes the task of a claim down and starts it; when it returns, the task is ours. What it raises means
            that nothing is written down.
        give_up: has the task that could not be accepted run by somebody else, or failed, as the settings say.
        hold: the pause after such a task.
        interval: seconds between polls of a server that cannot wait.
        fair: go round the queues instead of always starting with the first.
        clock: Unix seconds.
    """

    name = "claim"

    def __init__(
        self,
        source: TaskSource,
        listening: Listening,
        record: ClaimRecord,
        polls: PollRecord,
        *,
        free: Callable[[], int],
        accept: Callable[[Entry, str], None],
        give_up: Callable[[Entry, str], None],
        hold: HoldOff,
        interval: float,
        fair: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._listening = listening
        self._record = record
        self._polls = polls
        self._free = free
        self._accept = accept
        self._give_up = give_up
        self._hold = hold
        self._interval = interval
        self._fair = fair
        self._clock = clock
        self._served = ""
        self._unaccepted: tuple[Entry, str] | None = None

    def step(self, now: float) -> float:
        """Ask once; a task that comes is accepted before this returns."""
        if self._unaccepted is not None:
            self._return_it(*self._unaccepted)
        if self._free() <= 0:
            return _WHEN_FULL  # whoever frees a slot wakes us
        self._listening.look(now)
        pause = self._hold.left() or self._listening.pause(now)
        if pause > 0:
            return pause
        claim = self._record.current()
        try:
            entry = self._ask(claim)
        except InvalidRequest as error:
            if not error.is_about(Subcode.NO_SUCH_QUEUE):
                raise
            self._listening.missing()
            return 1.0
        if entry is None:
            return 0.0 if self._source.waits else self._interval
        return self._take(entry, claim)

    def leave(self) -> None:
        """No more steps will come."""
        self._polls.leave()

    def _ask(self, claim: str) -> Entry | None:
        order = self._order()
        if self._source.remembers_claims:
            return self._source.next(order, wait=LONGEST_WAIT, claim=claim)
        self._polls.polling(order)
        try:
            return self._source.next(order, wait=LONGEST_WAIT)
        except (ServerUnreachable, ServerBusy) as error:
            if error.may_have_acted:
                self._polls.doubtful(self._clock())
            raise
        except Cancelled:
            self._polls.doubtful(self._clock())
            raise

    def _take(self, entry: Entry, claim: str) -> float:
        try:
            self._accept(entry, claim)
        except (AgentError, OSError) as error:
            self._unaccepted = (entry, str(error))
            self._return_it(entry, str(error))
            return self._hold.left()
        self._record.settled()
        self._served = entry.queue
        return 0.0

    def _order(self) -> list[str]:
        ids = list(self._listening.ids)
        if self._fair and self._served in ids:
            after = ids.index(self._served) + 1
            return ids[after:] + ids[:after]
        return ids

    def _return_it(self, entry: Entry, why: str) -> None:
        """Until this has worked nothing else is taken, and the claim is kept for whoever comes after us."""
        self._give_up(entry, why)
        self._unaccepted = None
        self._record.settled()
        log.error(
            "task %s could not be taken on: %s; no task is taken for %.0f s", entry.task, why, self._hold.failed()
        )


def unix_time(stamp: str) -> float | None:
    """Seconds since the epoch of the server's ISO 8601 ``stamp``; None when it is empty or something else."""
    try:
        return dt.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
