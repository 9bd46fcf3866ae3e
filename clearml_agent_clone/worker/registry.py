"""The agents of this machine's user: who runs, under which worker id, in which slot.

A worker id is taken by holding the lock in its folder. The kernel gives the lock back when the process ends, however
it ends, so there is nothing stale to clean. Who is listed as running is told by pid, start time and boot, so that no
pid is mistaken for another's and looking never gets in the way of somebody who registers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone import __version__
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.runner.job import RECORD_FORMAT
from clearml_agent_clone.util.files import private_dir, read_json, slug, write_json
from clearml_agent_clone.util.locks import is_locked, open_lock, try_lock

STOP_FILE = "stop.json"
FAREWELL_FILE = "farewell.json"

_LOCK_PATIENCE = 0.05


@attrs.frozen
class WorkerName:
    """How a worker id is made.

    ``fixed`` is the whole id when the user or the GPUs decide it; else the id is ``prefix:<slot>``.
    """

    prefix: str
    fixed: str = ""

    @classmethod
    def of(cls, worker_id: str, worker_name: str, gpu_label: str) -> WorkerName:
        """From ``agent.worker_id``, ``agent.worker_name`` (or host name) and the label of the GPU choice."""
        if worker_id:
            return cls(worker_name, worker_id)
        if gpu_label == "cpu":
            return cls(f"{worker_name}:cpu")
        return cls(worker_name, f"{worker_name}:{gpu_label}" if gpu_label else "")

    def at(self, slot: int) -> str:
        return self.fixed or f"{self.prefix}:{slot}"

    def matches(self, worker_id: str) -> bool:
        """Whether an agent with that id is one that this name could have given."""
        if self.fixed:
            return worker_id == self.fixed
        head, _, slot = worker_id.rpartition(":")
        return head == self.prefix and slot.isdigit()


@attrs.frozen
class LocalWorker:
    """An agent found on this machine."""

    worker_id: str
    slot: int
    queues: tuple[str, ...]
    process: ProcessId
    folder: Path


@attrs.define
class Registration:
    """A worker id that is ours for as long as the lock's descriptor is open."""

    worker_id: str
    slot: int
    folder: Path
    _lock: int

    @property
    def stop_file(self) -> Path:
        """``--stop`` leaves here how it wants the agent to stop."""
        return self.folder / STOP_FILE

    @property
    def farewell_file(self) -> Path:
        """The agent leaves here what became of its tasks, for who stopped it."""
        return self.folder / FAREWELL_FILE

    def describe(self, queues: tuple[str, ...]) -> None:
        """Write down who we are, for ``--stop`` and for people."""
        identity = ProcessId.of(os.getpid())
        record = {
            "format": RECORD_FORMAT,
            "worker_id": self.worker_id,
            "slot": self.slot,
            "queues": list(queues),
            "process": identity.to_record() if identity else None,
            "version": __version__,
            "started_at": time.time(),
        }
        write_json(self.folder / "worker.json", record)

    def release(self) -> None:
        """Give the worker id back."""
        (self.folder / "worker.json").unlink(missing_ok=True)
        self.stop_file.unlink(missing_ok=True)
        os.close(self._lock)


def register(state_dir: Path, name: WorkerName) -> Registration:
    """Take the smallest free slot (or the fixed id) for this process.

    Raises:
        UserError: the fixed id is taken by a running agent.
    """
    workers = private_dir(private_dir(state_dir) / "workers")
    used = {worker.slot for worker in live_workers(state_dir)}
    for slot in range(10_000):
        if not name.fixed and slot in used:
            continue
        worker_id = name.at(slot)
        folder = private_dir(workers / slug(worker_id))
        lock = _lock(folder / "lock")
        if lock is not None:
            for left in (STOP_FILE, FAREWELL_FILE):
                (folder / left).unlink(missing_ok=True)  # meant for, or by, whoever had the id before
            free = next(number for number in range(10_000) if number not in used)
            return Registration(worker_id, free if name.fixed else slot, folder, lock)
        if name.fixed:
            break
    raise UserError(
        f"Instance with the same WORKER_ID [{name.at(0)}] is already running",
        remedy="Stop it with --stop, or set another agent.worker_id",
        code="worker-id-taken",
    )


def live_workers(state_dir: Path) -> list[LocalWorker]:
    """The agents of this state folder that are running now, by worker id."""
    return sorted(_live(state_dir / "workers"), key=lambda worker: worker.worker_id)


def dead_workers(state_dir: Path) -> list[LocalWorker]:
    """The agents that ended without taking their leave (killed, or the machine went down), and have not come back."""
    return [worker for worker in _recorded(state_dir / "workers") if not worker.process.alive]


def is_taken(state_dir: Path, worker_id: str) -> bool:
    """Whether a living process has this worker id."""
    return is_locked(state_dir / "workers" / slug(worker_id) / "lock")


def _live(workers: Path) -> Iterator[LocalWorker]:
    return (worker for worker in _recorded(workers) if worker.process.alive)


def _recorded(workers: Path) -> Iterator[LocalWorker]:
    for record_file in sorted(workers.glob("*/worker.json")):
        record = read_json(record_file)
        process = ProcessId.from_record(record.get("process")) if isinstance(record, dict) else None
        if process is not None and record.get("worker_id"):
            slot, queues = record.get("slot"), record.get("queues")
            yield LocalWorker(
                str(record["worker_id"]),
                slot if isinstance(slot, int) else -1,
                tuple(map(str, queues)) if isinstance(queues, list) else (),
                process,
                record_file.parent,
            )


def _lock(file: Path) -> int | None:
    while True:
        handle = open_lock(file)
        if not try_lock(handle, _LOCK_PATIENCE):
            os.close(handle)
            return None
        if os.fstat(handle).st_nlink:
            return handle
        os.close(handle)  # housekeeping has removed the folder of an unused id, just before
        private_dir(file.parent)
