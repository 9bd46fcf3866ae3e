"""``daemon --stop``: end exactly the agent that is meant, and tell what became of its tasks. Needs no server."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.processes import ProcessId, wait_exit
from clearml_agent_clone.util.files import read_json, write_json
from clearml_agent_clone.util.names import did_you_mean
from clearml_agent_clone.worker.registry import (
    FAREWELL_FILE,
    STOP_FILE,
    LocalWorker,
    WorkerName,
    dead_workers,
    live_workers,
)
from clearml_agent_clone.worker.stopmode import StopMode
from clearml_agent_clone.worker.survivors import end_survivors, survivors

PATIENCE = 120.0
"""Seconds for which a graceful stop is waited for, beyond the grace that tasks are given."""

NOW_PATIENCE = 10.0
"""Seconds after which a daemon that is to stop at once is killed."""

_NEWS = 30.0

Say = Callable[[str], None]


def stop_agents(
    state_dir: Path,
    name: WorkerName,
    ids: Sequence[str] | None,
    *,
    queues: Sequence[str],
    mode: StopMode,
    grace: float = 30.0,
    say: Say,
) -> int:
    """Stop the agents ``ids``, or the one that ``name`` and ``queues`` mean.

    Args:
        state_dir: the state folder.
        name: the worker id that the other flags would lead to.
        ids: worker ids.
        queues: names; they tell apart which agent is meant when there are several.
        mode: how to stop.
        grace: seconds that a task has to end.
        say: tells the user.

    Returns:
        0 when each of them is gone with its tasks, 1 when one was not found or did not end.

    Raises:
        UserError: more than one agent fits the flags.
    """
    running = live_workers(state_dir)
    wanted = list(dict.fromkeys(ids or [_meant(running, state_dir, name, queues)]))
    patience = None if mode is StopMode.DRAIN else PATIENCE + grace
    found = {worker.worker_id: worker for worker in running}
    asked = {worker_id: _ask(found[worker_id], mode, say) for worker_id in wanted if worker_id in found}
    results = []
    for worker_id in wanted:
        if worker_id in asked:
            results.append(asked[worker_id] and _await(found[worker_id], state_dir, mode, patience, say))
        else:
            results.append(_stop_dead(state_dir, worker_id, mode, patience, say))
    return 0 if all(results) else 1


def _meant(running: Sequence[LocalWorker], state_dir: Path, name: WorkerName, queues: Sequence[str]) -> str:
    for candidates in (running, dead_workers(state_dir)):
        fitting = [worker for worker in candidates if name.matches(worker.worker_id)]
        if queues and len(fitting) > 1:
            fitting = [worker for worker in fitting if set(queues) & set(worker.queues)]
        if len(fitting) > 1:
            raise UserError(
                "more than one agent fits: " + ", ".join(worker.worker_id for worker in fitting),
                remedy="Name the one to stop: --stop WORKER",
                code="stop-ambiguous",
            )
        if fitting:
            return fitting[0].worker_id
    return name.at(0)


def _ask(worker: LocalWorker, mode: StopMode, say: Say) -> bool:
    """Send the signal; False when that is of no use."""
    pid = worker.process.pid
    say(f"Terminating clearml-agent worker_id={worker.worker_id} pid={pid}")
    (worker.folder / FAREWELL_FILE).unlink(missing_ok=True)
    write_json(worker.folder / STOP_FILE, {"mode": mode.value, "id": uuid.uuid4().hex})
    _signal(worker.process, signal.SIGTERM)
    if _suspended(pid) and mode is not StopMode.NOW:
        say(
            f"clearml-agent worker_id={worker.worker_id} pid={pid} is suspended (SIGSTOP) and cannot end. It does when it"
            f" is continued (kill -CONT {pid}); --stop --now ends it and its tasks at once"
        )
        return False
    return True


def _await(worker: LocalWorker, state_dir: Path, mode: StopMode, patience: float | None, say: Say) -> bool:
    name, pid = f"clearml-agent worker_id={worker.worker_id}", worker.process.pid
    if mode is StopMode.NOW:
        if not wait_exit(pid, NOW_PATIENCE) and worker.process.alive:
            say(f"{name} pid={pid} does not end by itself, it is killed")
            _signal(worker.process, signal.SIGKILL)
            wait_exit(pid, NOW_PATIENCE)
    elif not _wait_with_news(worker, patience, say):
        say(
            f"{name} pid={pid} has not ended within {patience:.0f} s. Its task may still be saving; --stop --now kills it"
        )
        return False
    if worker.process.alive:
        say(f"{name} pid={pid} has not ended even when killed")
        return False
    said = _tell_farewell(worker, say)
    ended = said or end_survivors(state_dir, worker.worker_id, mode, patience, say)
    (worker.folder / "worker.json").unlink(missing_ok=True)
    if ended:
        say(f"{name} has ended")
    return ended


def _wait_with_news(worker: LocalWorker, patience: float | None, say: Say) -> bool:
    begun = time.monotonic()
    while patience is None or time.monotonic() - begun < patience:
        left = _NEWS if patience is None else min(_NEWS, patience - (time.monotonic() - begun))
        if wait_exit(worker.process.pid, max(0.0, left)) or not worker.process.alive:
            return True
        say(f"clearml-agent worker_id={worker.worker_id} is still ending its tasks ({time.monotonic() - begun:.0f} s)")
    return False


def _tell_farewell(worker: LocalWorker, say: Say) -> bool:
    """What the agent has left word of; False when it came to no farewell."""
    record = read_json(worker.folder / FAREWELL_FILE)
    tasks = record.get("tasks") if isinstance(record, dict) else None
    if not isinstance(tasks, list):
        return False
    for task in tasks:
        if isinstance(task, dict):
            say(f"task {task.get('task')}: {task.get('fate')}")
    return True


def _stop_dead(state_dir: Path, worker_id: str, mode: StopMode, patience: float | None, say: Say) -> bool:
    """An agent that is not running: its runners may be, and its record may be left."""
    dead = {worker.worker_id: worker for worker in dead_workers(state_dir)}
    worker = dead.get(worker_id)
    runs = survivors(state_dir, worker_id)
    if worker is not None:
        say(
            f"clearml-agent worker_id={worker_id} is not running: pid {worker.process.pid} is gone, it left a stale record"
            + (f" and {len(runs)} running tasks" if runs else "")
        )
        (worker.folder / "worker.json").unlink(missing_ok=True)
    elif runs:
        say(f"clearml-agent worker_id={worker_id} is not running, but {len(runs)} of its tasks are")
    if runs:
        return end_survivors(state_dir, worker_id, mode, patience, say)
    if worker is None:
        known = [other.worker_id for other in live_workers(state_dir)]
        say(
            f"Could not find a running clearml-agent instance with worker_id={worker_id}. "
            f"{did_you_mean(worker_id, known)}".rstrip()
        )
    return False


def _signal(process: ProcessId, number: int) -> None:
    if process.alive:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            return


def _suspended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in {b"T", b"t"}
    except (OSError, IndexError):
        return False
