"""The runner's folder and the job in it: all that a runner, or a daemon that finds one, has to know."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.util.boot import boot_id
from clearml_agent_clone.util.files import private_dir, read_json, write_json
from clearml_agent_clone.util.locks import is_locked, open_lock, try_lock

_LOCK_PATIENCE = 1.0

RECORD_FORMAT = 1
"""Noted in the records that other versions of the agent may find. They are read as far as they are understood: what is
missing is a default, what is unknown is left alone. The number tells a later version what it has before it."""


@attrs.frozen
class Job:
    """A claimed task. Written before anything is done with it, never changed after.

    Args:
        run_id: names this attempt; also the name of its folder.
        task_id: the task.
        worker_id: under which id the task is reported.
        owner_id: the daemon's own worker id, empty for ``execute``.
        queue_id: the queue it came from, empty without one.
        queued_at: Unix seconds when it entered the queue, None when unknown.
        claimed_at: Unix seconds when the worker got it.
        visible_devices: GPUs for the task, see ``launch.plan.Devices``.
        log_level: for the SDK inside the task.
        optimize: count of Python's ``-O``.
        may_start_from: statuses that the task may be in when the runner takes it.
        reports_worker: the run is a worker of its own (a service, ``execute``) and reports the machine itself.
        claim_id: the claim that brought the task; what comes under the same claim again is this run, not another.
        engine: the container engine that it is to run in (``docker``, ``podman``), empty for this machine.
        default_container: what followed ``--docker``: image and arguments for tasks that name none.
        boot: the start of the machine in which it was claimed; empty when unknown.
    """

    run_id: str
    task_id: str
    worker_id: str
    claimed_at: float
    owner_id: str = ""
    queue_id: str = ""
    queued_at: float | None = None
    visible_devices: str | None = None
    log_level: str = "INFO"
    optimize: int = 0
    may_start_from: tuple[str, ...] = ("queued",)
    reports_worker: bool = False
    claim_id: str = ""
    engine: str = ""
    default_container: tuple[str, ...] = attrs.field(default=(), repr=False)
    boot: str = attrs.Factory(boot_id)

    @classmethod
    def from_record(cls, data: object) -> Job | None:
        """The job of a record, None when it is not one (a foreign or damaged file)."""
        if not isinstance(data, dict):
            return None
        known = {field.name for field in attrs.fields(cls)}
        values = {name: value for name, value in data.items() if name in known}
        values["may_start_from"] = tuple(values.get("may_start_from", ("queued",)))
        values["default_container"] = tuple(values.get("default_container", ()))
        values.setdefault("boot", "")
        try:
            return cls(**values)
        except TypeError:
            return None

    def to_record(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "format": RECORD_FORMAT}


def new_run_id(task_id: str, now: float) -> str:
    """A name for one attempt at a task: sorts by time, tells the task, is never used twice."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now))}-{task_id[:8]}-{secrets.token_hex(3)}"


@attrs.frozen
class RunFolder:
    """Where the files of one run are. Everything in it is private to the agent's user."""

    path: Path

    @classmethod
    def create(cls, runs: Path, job: Job) -> RunFolder:
        """Make the folder with the job in it; on return the job is on disk for good."""
        folder = cls(private_dir(private_dir(runs) / job.run_id))
        os.close(open_lock(folder._lock))  # now: a disk may be full when the runner comes
        write_json(folder.path / "job.json", job.to_record())
        return folder

    def job(self) -> Job:
        """The job of this folder.

        Raises:
            UserError: there is none, or it cannot be read.
        """
        job = Job.from_record(read_json(self.path / "job.json"))
        if job is None:
            raise UserError(f"{self.path} holds no readable job.json", remedy="Remove the folder", code="no-job")
        return job

    def hold(self) -> int | None:
        """Become the folder's runner for as long as this process lives; None when there is one.

        A daemon that was killed between starting a runner and hearing of it, and the one that comes after it, may start
        two. Only one of them works.

        Returns:
            The lock's descriptor. Whoever drops it lets go.
        """
        handle = open_lock(self._lock)
        if try_lock(handle, _LOCK_PATIENCE):
            return handle
        os.close(handle)
        return None

    @property
    def held(self) -> bool:
        """Whether the folder has a runner."""
        return is_locked(self._lock)

    @property
    def _lock(self) -> Path:
        return self.path / "runner.lock"

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def log_file(self) -> Path:
        return self.path / "runner.log"

    @property
    def code(self) -> Path:
        return self.path / "code"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def sdk_config(self) -> Path:
        return self.path / "clearml.conf"

    def claim_for(self, name: str, pid: int | None = None) -> None:
        """Write down that ``pid`` (this process) is the run's ``name``: ``runner`` or ``user``.

        Not forced to disk: after a power cut there is no such process.
        """
        identity = ProcessId.of(pid if pid is not None else os.getpid())
        if identity is not None:
            write_json(self.path / f"{name}.json", identity.to_record(), durable=False)

    def process(self, name: str) -> ProcessId | None:
        """The identity written by ``claim_for``."""
        return ProcessId.from_record(read_json(self.path / f"{name}.json"))
