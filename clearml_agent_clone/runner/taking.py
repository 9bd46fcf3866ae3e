"""Make a task ours: read it, check that it may be run, set it in progress."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

import attrs

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.calls_tasks import Tasks
from clearml_agent_clone.api.errors import NotFound
from clearml_agent_clone.api.types import Task, TaskStatus
from clearml_agent_clone.errors import AgentError, Cancelled, Fatal, Retryable, UserError
from clearml_agent_clone.runner.job import Job

log = logging.getLogger(__name__)

_WITHOUT_FORCE = frozenset({TaskStatus.QUEUED, TaskStatus.CREATED, TaskStatus.IN_PROGRESS})
_PAUSE = 5.0
_Answer = TypeVar("_Answer")


class StartRefused(Fatal):
    """The server does not let us set the task in progress, though nothing in its status says why."""

    default_code = "start-refused"


@attrs.frozen
class Taking:
    """The steps from a claimed task to one in progress.

    Args:
        job: what was claimed.
        tasks: the server's calls.
        changed_by: for the task's record.
        cancel: set when nobody wants the task to be run any more.
        pause: seconds before a refusal is believed, so that a task that goes back to its queue, and comes back from
            there at once, does not go round without end.
    """

    job: Job
    tasks: Tasks
    changed_by: str
    cancel: threading.Event
    pause: float = _PAUSE

    def read(self) -> Task:
        """The task, which may be run.

        Raises:
            UserError: it is gone, or its status says that somebody decided otherwise (``task-not-startable``).
            StartRefused: the server will not show it.
            Cancelled: ``cancel`` was set before the server answered.
        """
        task = self._call(lambda: self.tasks.get(self.job.task_id, retry=Retry.forever()))
        if task.status.value not in self.job.may_start_from:
            raise self._not_startable(task.status)
        return task

    def start(self, task: Task) -> None:
        """Set it in progress.

        Raises:
            UserError: somebody changed it meanwhile, so that it must not be run (``task-not-startable``).
            StartRefused: the server refuses, and its status does not say why.
        """
        try:
            self.tasks.started(
                task.id,
                reason="worker started execution",
                message=self.changed_by,
                force=task.status not in _WITHOUT_FORCE,
                retry=Retry.forever(),
            )
        except Retryable as error:
            raise Cancelled from error  # patience without end has ended, so somebody has asked for it
        except AgentError as error:
            seen = self._call(lambda: self.tasks.status(task.id, retry=Retry.forever()))
            status = seen.status if seen is not None else None
            if status is None or status.value not in self.job.may_start_from:
                raise self._not_startable(status) from error
            raise self._refused(error) from error

    def _call(self, call: Callable[[], _Answer]) -> _Answer:
        try:
            return call()
        except NotFound:
            raise self._not_startable(None) from None
        except Retryable as error:
            raise Cancelled from error
        except AgentError as error:
            raise self._refused(error) from error

    def _refused(self, error: AgentError) -> StartRefused:
        self.cancel.wait(self.pause)
        return StartRefused(error.message, remedy=error.remedy)

    def _not_startable(self, status: TaskStatus | None) -> UserError:
        what = "is gone" if status is None else f"is {status.value}"
        return UserError(
            f"task {self.job.task_id} {what}, it is not run",
            remedy="Reset or clone it to run it again" if status is not None else "",
            code="task-not-startable",
        )
