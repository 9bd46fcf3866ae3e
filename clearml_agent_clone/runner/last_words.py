"""What the server is told at the end: the status, or that the task waits again."""

from __future__ import annotations

import logging

import attrs

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.calls_tasks import Tasks
from clearml_agent_clone.api.errors import InvalidRequest
from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.runner.job import Job
from clearml_agent_clone.runner.outcome import Ending, Verdict

log = logging.getLogger(__name__)

_OURS = frozenset({TaskStatus.IN_PROGRESS, TaskStatus.QUEUED})


@attrs.frozen
class LastWords:
    """Ends one task on the server.

    Args:
        job: the run.
        tasks: the server's calls.
        changed_by: for the task's record.
        said_before: an earlier runner of this run has begun to say this, and may have come through.
    """

    job: Job
    tasks: Tasks
    changed_by: str
    said_before: bool

    def say(self, ending: Ending) -> None:
        """Tell it, as often as it takes. A task whose status somebody else has decided is left alone.

        Raises:
            AgentError: the server could not be told and has refused nothing; it has to be said again later.
        """
        if ending.verdict is Verdict.NONE:
            return
        if ending.verdict is Verdict.REQUEUED:
            self._requeue(ending)
            return
        tasks = self.tasks
        calls = {Verdict.COMPLETED: tasks.completed, Verdict.FAILED: tasks.failed, Verdict.STOPPED: tasks.stopped}
        try:
            calls[ending.verdict](
                self.job.task_id, reason=ending.reason, message=self.changed_by, retry=Retry.forever()
            )
        except InvalidRequest as error:
            log.warning("status %s was refused: %s", ending.verdict.value, error)
            if ending.verdict is Verdict.FAILED:
                self._fail_unstarted(ending)

    def _fail_unstarted(self, ending: Ending) -> None:
        """A task that was taken from its queue and never came into progress cannot simply fail."""
        self.tasks.fail_taken(
            self.job.task_id,
            self.job.worker_id,
            reason=ending.reason,
            message=self.changed_by,
            retry=Retry.forever(),
        )

    def _requeue(self, ending: Ending) -> None:
        task_id, queue_id = self.job.task_id, self.job.queue_id
        seen = self.tasks.status(task_id, retry=Retry.forever())
        if seen is None or seen.status not in _OURS or "stopping" in seen.status_message:
            log.warning("the task is not put back: it is %s", "gone" if seen is None else seen.status.value)
            if seen is not None and seen.status is TaskStatus.IN_PROGRESS:  # aborted in the last moment
                self.tasks.stopped(
                    task_id, reason="task was stopped by tasks.stop", message=self.changed_by, retry=Retry.forever()
                )
            return
        if self.said_before and seen.status is TaskStatus.IN_PROGRESS and self._taken_by_another():
            log.warning("the task is not put back: another worker has it")
            return
        log.info("putting the task back into queue %s", queue_id)
        if not self.tasks.put_back(
            task_id, queue_id, reason=ending.reason, message=self.changed_by, retry=Retry.forever()
        ):
            # its queue is gone: it cannot wait there, and must not be in progress for ever either
            self.tasks.fail_taken(
                task_id, self.job.worker_id, reason=ending.reason, message=self.changed_by, retry=Retry.forever()
            )

    def _taken_by_another(self) -> bool:
        worker = self.tasks.get(self.job.task_id, retry=Retry.forever()).last_worker
        return worker not in {"", self.job.worker_id}
