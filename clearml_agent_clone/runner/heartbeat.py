"""Tell the server every half minute, and at once when it changes, that the worker lives and what it does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from clearml_agent_clone.api.access import ONCE, Retry, Timeout
from clearml_agent_clone.api.client import Client
from clearml_agent_clone.config import Settings
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.monitoring import MachineStats, Sampler, new_sampler
from clearml_agent_clone.util.loops import Loop

log = logging.getLogger(__name__)

GOODBYE = Timeout(2.0, 5.0)
"""For the last call of a process; a server that is slower will forget the worker by itself."""


@attrs.frozen
class Doing:
    """The task a worker is reported with; empty when it is idle."""

    task_id: str = ""
    queue_id: str = ""


class Reports(Protocol):
    """The call that reports a worker."""

    def report(
        self,
        worker: str,
        *,
        task: str | None = None,
        queue: str | None = None,
        queues: Sequence[str] | None = None,
        stats: MachineStats | None = None,
        tags: Sequence[str] | None = None,
        retry: Retry | None = None,
    ) -> object: ...


class Heartbeat:
    """Reports one worker.

    Args:
        reports: the call.
        worker_id: who.
        queue_ids: the queues that it listens to; they may change while we look on.
        doing: what it does now.
        take_stats: machine samples since the last call, None when there are none yet.
        interval: seconds between reports.
        tags: sent along, so that the server can group workers.
    """

    name = "heartbeat"

    def __init__(
        self,
        reports: Reports,
        worker_id: str,
        *,
        queue_ids: Sequence[str],
        doing: Callable[[], Doing],
        take_stats: Callable[[], MachineStats | None],
        interval: float = 30.0,
        tags: Sequence[str] = (),
    ) -> None:
        self._reports = reports
        self._worker_id = worker_id
        self._queue_ids = queue_ids
        self._doing = doing
        self._take_stats = take_stats
        self._interval = interval
        self._tags = list(tags)
        self._next_stats = 0.0
        self._first = True

    def step(self, now: float) -> float:
        """Report once. Statistics go along only when their period is over, so that a change of task does not cut an
        average short.
        """
        due = self._first or now >= self._next_stats
        doing = self._doing()
        self._reports.report(
            self._worker_id,
            task=doing.task_id or None,
            queue=doing.queue_id or None,
            queues=list(self._queue_ids),
            stats=self._take_stats() if due and not self._first else None,
            tags=self._tags or None,
            retry=ONCE,
        )
        if due:
            self._next_stats = now + (3.0 if self._first else self._interval)
        self._first = False
        return max(0.0, self._next_stats - now)


class OwnWorker:
    """A run that is a worker of its own, such as a service: it reports the machine itself and takes its leave."""

    def __init__(self, worker_id: str, task_id: str, queue_id: str, settings: Settings, client: Client) -> None:
        self._worker_id = worker_id
        self._client = client
        self._sampler = make_sampler(settings, None)
        self._heartbeat = Heartbeat(
            client.workers,
            worker_id,
            queue_ids=(),
            doing=lambda: Doing(task_id, queue_id),
            take_stats=self._sampler.take,
        )

    @property
    def loops(self) -> tuple[Loop, ...]:
        """The duties, for as long as the task runs."""
        return (self._heartbeat, self._sampler)

    def leave(self) -> None:
        """Make the server forget the worker."""
        try:
            self._client.workers.unregister(self._worker_id, retry=ONCE, timeout=GOODBYE)
        except AgentError as error:
            log.warning("unregister: %s", error)


def make_sampler(settings: Settings, visible: str | None) -> Sampler:
    """The samples that the configuration asks for, of the GPUs that are ours."""
    wanted = settings.agent.resource_monitoring
    return new_sampler(wanted.disk_use_path, visible, default_gpu_usage=wanted.default_gpu_utilization)
