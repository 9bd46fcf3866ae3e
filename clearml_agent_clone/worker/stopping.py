"""``daemon --stop``: end exactly the agent that is meant. Needs no server."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.processes import wait_exit
from clearml_agent_clone.util.files import write_json
from clearml_agent_clone.util.names import did_you_mean
from clearml_agent_clone.worker.daemon import StopMode
from clearml_agent_clone.worker.registry import LocalWorker, WorkerName, live_workers

_PATIENCE = 120.0


def stop_agents(
    state_dir: Path,
    name: WorkerName,
    ids: Sequence[str] | None,
    *,
    queues: Sequence[str],
    drain: bool,
    say: Callable[[str], None],
) -> int:
    """Stop the agents ``ids``, or the one that ``name`` and ``queues`` mean.

    Returns:
        0 when each of them is gone, 1 when one was not found or did not end.

    Raises:
        UserError: more than one agent fits the flags.
    """
    running = live_workers(state_dir)
    results = []
    for worker_id in ids or [_meant(running, name, queues)]:
        worker = next((worker for worker in running if worker.worker_id == worker_id), None)
        if worker is None:
            near = did_you_mean(worker_id, [worker.worker_id for worker in running])
            say(f"Could not find a running clearml-agent instance with worker_id={worker_id}. {near}".rstrip())
            results.append(False)
        else:
            results.append(_stop(worker, StopMode.DRAIN if drain else StopMode.STOP, say))
    return 0 if all(results) else 1


def _meant(running: Sequence[LocalWorker], name: WorkerName, queues: Sequence[str]) -> str:
    fitting = [worker for worker in running if name.matches(worker.worker_id)]
    if queues and len(fitting) > 1:
        fitting = [worker for worker in fitting if set(queues) & set(worker.queues)]
    if len(fitting) > 1:
        raise UserError(
            "more than one agent fits: " + ", ".join(worker.worker_id for worker in fitting),
            remedy="Name the one to stop: --stop WORKER",
            code="stop-ambiguous",
        )
    return fitting[0].worker_id if fitting else name.at(0)


def _stop(worker: LocalWorker, mode: StopMode, say: Callable[[str], None]) -> bool:
    pid = worker.process.pid
    say(f"Terminating clearml-agent worker_id={worker.worker_id} pid={pid}")
    write_json(worker.folder / "stop.json", {"mode": mode.value})
    os.kill(pid, signal.SIGTERM)
    if wait_exit(pid, None if mode is StopMode.DRAIN else _PATIENCE):
        say(f"clearml-agent worker_id={worker.worker_id} has ended")
        return True
    say(
        f"clearml-agent worker_id={worker.worker_id} pid={pid} has not ended within {_PATIENCE:.0f} s; its task may still be stopping"
    )
    return False
