"""Looks after what nobody else will: running tasks that fell silent, entries that were handed out and not used."""

from __future__ import annotations

import datetime as dt
import logging
import sqlite3

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.server import fields, queue_entries
from clearml_agent_clone.server.documents import QUEUES, TASKS
from clearml_agent_clone.server.endpoints.queue_next import CLAIM_LIFE
from clearml_agent_clone.server.errands import errand
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.state import ServerState
from clearml_agent_clone.server.tasks.status import change_status, status_of

FORCED_STOP = "Forced stop (non-responsive)"
_SAMPLES_LIFE = 30 * 86400.0
_WORKERS_LIFE = 7 * 86400.0
_log = logging.getLogger(__name__)


class Watchdog:
    """One look at everything per ``step``; the time comes from the caller.

    Args:
        state: the server.
        started: when the server began to listen. Silence from before that, or while the machine slept, is not the
            tasks' fault: after such a gap one look passes before any task is stopped.
    """

    def __init__(self, state: ServerState, started: dt.datetime) -> None:
        self._state = state
        self._last_look = started

    def step(self, now: dt.datetime) -> float:
        """Do what is due; the seconds until the next look."""
        period = self._state.config.watchdog_period
        could_report = (now - self._last_look).total_seconds() < 2 * period
        self._last_look = now
        with errand(self._state, now) as call:
            if could_report:
                stop_silent_tasks(call, self._state.config.task_silence)
            settle_old_claims(call)
            forget_old_records(call.db, now.timestamp())
        return period


def stop_silent_tasks(call: Call, silence: float) -> None:
    """Stop every running task that nobody has reported on for ``silence`` seconds."""
    oldest = fields.stamp(call.now - dt.timedelta(seconds=silence))
    silent = TASKS.select(call.db, "WHERE status = ? AND last_update < ?", (TaskStatus.IN_PROGRESS.value, oldest))
    for task in silent:
        completed = {"completed": task.get("last_update")}
        change_status(call, task, TaskStatus.STOPPED, reason=FORCED_STOP, message=FORCED_STOP, extra=completed)
        _log.warning("task %s was silent for more than %.0f s and is stopped", task["id"], silence)


def settle_old_claims(call: Call) -> None:
    """Forget claims after their time. A task that was claimed but still waits outside any queue is put back."""
    oldest = call.now.timestamp() - CLAIM_LIFE
    rows = call.db.execute("SELECT claim, queue, task, added FROM claims WHERE made < ?", (oldest,)).fetchall()
    for claim, queue, key, added in rows:
        call.db.execute("DELETE FROM claims WHERE claim = ?", (claim,))
        task = TASKS.find(call.db, key, "id")
        lost = task is not None and status_of(task) is TaskStatus.QUEUED and not _waits(call.db, key)
        if lost and QUEUES.exists(call.db, queue):
            queue_entries.put_back(call, queue, key, added)


def forget_old_records(db: sqlite3.Connection, now: float) -> None:
    """Drop measurements, workers and logouts that nobody can ask for any more."""
    db.execute("DELETE FROM worker_samples WHERE at < ?", (now - _SAMPLES_LIFE,))
    db.execute("DELETE FROM queue_samples WHERE at < ?", (now - _SAMPLES_LIFE,))
    db.execute("DELETE FROM workers WHERE expires < ?", (now - _WORKERS_LIFE,))
    db.execute("DELETE FROM worker_properties WHERE expires < ?", (now,))
    db.execute("DELETE FROM revoked_sessions WHERE until < ?", (now,))


def _waits(db: sqlite3.Connection, task: str) -> bool:
    return db.execute("SELECT 1 FROM queue_entries WHERE task = ?", (task,)).fetchone() is not None
