"""Watch the server's view of a running task: is it still ours to run?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.runner.outcome import Cause
from clearml_agent_clone.runner.stop import StopRequest

log = logging.getLogger(__name__)

STOP_CHECK_INTERVAL = 1.5
_LOOKS_TO_BELIEVE = {Cause.RESET: 3, Cause.GONE: 10}


class SeenTask(Protocol):
    """The part of a task that a stop shows in."""

    @property
    def status(self) -> TaskStatus: ...
    @property
    def status_message(self) -> str: ...
    @property
    def runtime(self) -> Mapping[str, Any]: ...
    @property
    def started(self) -> str: ...
    @property
    def last_worker(self) -> str: ...


_OUTSIDE = {
    TaskStatus.STOPPED: Cause.STATUS_CHANGED,
    TaskStatus.CLOSED: Cause.STATUS_CHANGED,
    TaskStatus.PUBLISHED: Cause.STATUS_CHANGED,
    TaskStatus.QUEUED: Cause.STATUS_CHANGED,
    TaskStatus.FAILED: Cause.FAILED_OUTSIDE,
    TaskStatus.CREATED: Cause.RESET,
}
_CODES = {
    Cause.ABORT: "(1) stopped",
    Cause.RESET: "(2) reset",
    Cause.STATUS_CHANGED: "(3) status_changed",
    Cause.FAILED_OUTSIDE: "(4) exception",
    Cause.GONE: "(5) not_found",
}


def judge(task: SeenTask | None, longest_callback: float) -> StopRequest | None:
    """Whether what the server says of a task means that its process has to end."""
    if task is None:
        return _request(Cause.GONE)
    if task.status is TaskStatus.IN_PROGRESS and "stopping" in task.status_message:
        return attrs.evolve(_request(Cause.ABORT), callback_seconds=callback_seconds(task.runtime, longest_callback))
    cause = _OUTSIDE.get(task.status)
    return None if cause is None else _request(cause)


def callback_seconds(runtime: Mapping[str, Any], longest: float) -> float:
    """How long the abort callback that the SDK registered may take; 0 when there is none."""
    try:
        timeout = float(runtime.get("_abort_callback_timeout") or 0)
        poll = float(runtime.get("_abort_poll_freq") or 0)
    except (TypeError, ValueError):
        return 0.0
    return min(timeout + poll, longest) if timeout > 0 else 0.0


class StopCheck:
    """Asks for the task's status on a timer of its own and reports the first reason to stop.

    A reset is believed only when it is seen several times: the server resets a task in more than one write, and
    killing a day's training over a status in between would be worse than five seconds of delay. That the task is gone
    is believed after fifteen seconds: a server may come up before its database has.

    Between two looks a task may be reset, enqueued and taken by another worker. It is in progress then as it was before,
    but the server has stamped its start anew and names the other worker: it is not ours any more.

    Args:
        look: asks the server.
        on_stop: takes the request.
        worker_id: under which name the task is run here.
        longest_callback: seconds that an abort callback may take at most.
        interval: seconds between two looks.
    """

    name = "stop-check"

    def __init__(
        self,
        look: Callable[[], SeenTask | None],
        on_stop: Callable[[StopRequest], None],
        *,
        worker_id: str,
        longest_callback: float,
        interval: float = STOP_CHECK_INTERVAL,
    ) -> None:
        self._look = look
        self._on_stop = on_stop
        self._worker_id = worker_id
        self._longest_callback = longest_callback
        self._interval = interval
        self._doubtful: Cause | None = None
        self._seen = 0
        self._started = ""

    def step(self, now: float) -> float:
        """Look once."""
        del now
        task = self._look()
        request = judge(task, self._longest_callback)
        if task is not None and self._is_anothers(task):
            log.warning("the task was reset, and is run by %s now", task.last_worker)
            self._on_stop(_request(Cause.RESET))
            return self._interval
        cause = request.cause if request is not None else None
        self._seen = self._seen + 1 if cause is self._doubtful else 1
        self._doubtful = cause
        needed = 1 if cause is None else _LOOKS_TO_BELIEVE.get(cause, 1)
        if cause is not None and self._seen < needed:
            log.warning("the server says of the task: %s (%d/%d)", cause.value, self._seen, needed)
        elif request is not None:
            self._on_stop(request)
        return self._interval

    def _is_anothers(self, task: SeenTask) -> bool:
        if task.status is not TaskStatus.IN_PROGRESS or not task.started:
            return False
        self._started = self._started or task.started
        return task.started != self._started and task.last_worker not in {"", self._worker_id}


class Ping:
    """Tells the server now and then that the task is alive, so that its watchdog leaves it alone."""

    name = "ping"

    def __init__(self, ping: Callable[[], object], interval: float) -> None:
        self._ping = ping
        self._interval = interval

    def step(self, now: float) -> float:
        """Ping once."""
        del now
        self._ping()
        return self._interval


def _request(cause: Cause) -> StopRequest:
    who = "Task failed" if cause is Cause.FAILED_OUTSIDE else "User aborted"
    return StopRequest(cause, announced=f"{who}: stopping task {_CODES[cause]}")
