"""Close the account of tasks that end without a runner, however long the server is away."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from clearml_agent_clone.api.access import ONCE, Retry
from clearml_agent_clone.errors import AgentError, Fatal
from clearml_agent_clone.runner.job import RECORD_FORMAT, Job, RunFolder
from clearml_agent_clone.util.files import read_json, write_json

log = logging.getLogger(__name__)

_FILE = "duty.json"
_NOTHING_TO_DO = 3600.0


class Fate(enum.Enum):
    """What is to become of the task."""

    REQUEUE = "requeue"
    FAIL = "fail"


class Calls(Protocol):
    """The calls on tasks."""

    def put_back(
        self,
        task_id: str,
        queue_id: str,
        *,
        reason: str = "",
        message: str = "",
        worker_id: str = "",
        retry: Retry | None = None,
    ) -> bool: ...

    def fail_taken(
        self, task_id: str, worker_id: str, *, reason: str, message: str = "", retry: Retry | None = None
    ) -> bool: ...


@attrs.frozen
class Duty:
    """A task that nobody runs any more, and that the server has to be told about."""

    job: Job
    folder: RunFolder
    fate: Fate
    reason: str

    @classmethod
    def of(cls, job: Job, folder: RunFolder) -> Duty | None:
        """The duty that was written down in a run's folder, None when there is none."""
        record = read_json(folder.path / _FILE)
        try:
            return cls(job, folder, Fate(record["fate"]), str(record["reason"]))
        except (TypeError, KeyError, ValueError):
            return None

    def write(self) -> None:
        """Write it down, so that it outlives the daemon."""
        record: dict[str, Any] = {"format": RECORD_FORMAT, "fate": self.fate.value, "reason": self.reason}
        write_json(self.folder.path / _FILE, record)


def settle(tasks: Calls, job: Job, fate: Fate, reason: str, *, retry: Retry = ONCE) -> str:
    """Put a task that we took back, or set it failed; says what became of it.

    Raises:
        ServerUnreachable, ServerBusy: try again.
    """
    message = f"Changed by clearml-agent {job.worker_id}"
    if fate is Fate.REQUEUE and job.queue_id:
        if tasks.put_back(
            job.task_id, job.queue_id, reason=reason, message=message, worker_id=job.worker_id, retry=retry
        ):
            return "put back to the head of its queue"
        reason = f"{reason}; its queue is gone"
    if tasks.fail_taken(job.task_id, job.worker_id, reason=reason, message=message, retry=retry):
        return "failed"
    return "left as it is: it has gone on without this agent"


class Settling:
    """Keeps the duties until they are done. They are in the runs' folders too, for the daemon that comes after us.

    Args:
        tasks: the server.
        done: called when one is done; its folder is of no use any more.
    """

    name = "settle"

    def __init__(self, tasks: Calls, done: Callable[[Duty], None]) -> None:
        self._tasks = tasks
        self._done = done
        self._open: dict[str, Duty] = {}
        self._lock = threading.Lock()
        self.on_new: Callable[[], None] = lambda: None

    @property
    def open(self) -> list[Duty]:
        """Those that are not done yet."""
        with self._lock:
            return list(self._open.values())

    def owe(self, duty: Duty) -> None:
        """Take on a duty. From any thread."""
        try:
            duty.write()
        except AgentError as error:  # a full disk may be why the task cannot be run; the duty is done all the same
            log.warning("task %s: what is to become of it cannot be written down: %s", duty.job.task_id, error)
        with self._lock:
            self._open[duty.job.run_id] = duty
        self.on_new()

    def step(self, now: float) -> float:
        """Try all of them once."""
        del now
        failed: AgentError | None = None
        for duty in self.open:
            try:
                became = settle(self._tasks, duty.job, duty.fate, duty.reason)
            except Fatal as error:  # noqa: PERF203 - each of them counts;  # repeating does not help; the folder stays for the next start of an agent
                log.error("task %s: %s", duty.job.task_id, error)  # noqa: TRY400 - it says all
                self._forget(duty)
            except AgentError as error:
                failed = error
            else:
                log.warning("task %s: %s (%s)", duty.job.task_id, became, duty.reason)
                self._forget(duty)
                self._done(duty)
        if failed is not None:
            raise failed
        return _NOTHING_TO_DO

    def _forget(self, duty: Duty) -> None:
        with self._lock:
            self._open.pop(duty.job.run_id, None)
