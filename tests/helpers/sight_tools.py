"""Snapshots and folders of runs as tests about sight need them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.logs.reader import Place
from clearml_agent_clone.logs.record import Mark, Record, save_record
from clearml_agent_clone.logs.spool import Spool
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import private_dir, slug, write_json
from clearml_agent_clone.worker.sight.snapshot import (
    AgentState,
    DaemonSnapshot,
    Finished,
    LoopView,
    QueueName,
    ServerView,
)

SNAPSHOT = DaemonSnapshot(
    worker_id="host:0",
    pid=4711,
    version="1.2.3",
    started_at=1000.0,
    state=AgentState.WORKING,
    queues=(QueueName("q1", "default"), QueueName("q2", "")),
    capacity=2,
    running=1,
    loops=(LoopView("claim", 1.5), LoopView("heartbeat", 200.0, 170.0, 7, 'no "way"\\\nback')),
    server=ServerView("http://127.0.0.1:8008", 1500.0, "refused", 1600.0),
    finished=Finished({"completed": 3, "failed": 1}, 12, 0.75),
    requests={("queues.get_next_task", "ok"): 9, ("workers.status_report", "connection-refused"): 2},
)


def healthy(**changes: Any) -> DaemonSnapshot:
    """A snapshot of a daemon that is well."""
    loops = (LoopView("claim", 1.0), LoopView("heartbeat", 20.0))
    server = ServerView("http://127.0.0.1:8008", 1500.0)
    return attrs.evolve(SNAPSHOT, **{"loops": loops, "server": server, **changes})


def make_run(
    state_dir: Path,
    task_id: str,
    *,
    owner: str = "host:0",
    moves: tuple[State, ...] = (State.PREPARING, State.RUNNING),
    written: bytes = b"",
    delivered: int = 0,
    lost: int = 0,
    alive: bool = False,
) -> RunFolder:
    """A run as its runner would leave it, ``moves`` a minute apart; ``alive``: this process is its runner."""
    job = Job(
        f"run-{task_id}", task_id, owner or "by-hand", 1000.0, owner_id=owner, queue_id="q1", visible_devices="0,1"
    )
    folder = RunFolder.create(private_dir(state_dir) / "runs", job)
    times = iter(range(1060, 2000, 60))
    journal = Journal(folder.state_file, lambda: float(next(times)))
    for move in moves:
        journal.move(move)
    spool = Spool.create(private_dir(folder.logs))
    spool.write(written)
    spool.close()
    save_record(folder.logs, Record(Mark(place=Place(delivered), lost_bytes=lost, lines=delivered // 10)))
    if alive:
        folder.claim_for("runner")
    return folder


def make_worker(state_dir: Path, worker_id: str, process: ProcessId | None = None) -> Path:
    """The folder of an agent whose process is ``process``, by default ours."""
    folder = private_dir(private_dir(private_dir(state_dir) / "workers") / slug(worker_id))
    known = process or ProcessId.of(os.getpid())
    assert known is not None
    record = {
        "worker_id": worker_id,
        "slot": 0,
        "queues": ["default"],
        "process": known.to_record(),
        "version": "1.2.2",
        "started_at": 900.0,
    }
    write_json(folder / "worker.json", record)
    return folder
