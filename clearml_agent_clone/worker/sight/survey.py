"""All agents of a state folder as they are now: what the living say, and what the dead have left on the disk."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.util.files import read_json
from clearml_agent_clone.worker.sight.responder import SOCKET_NAME, short_address
from clearml_agent_clone.worker.sight.runs import RunView, runs_in
from clearml_agent_clone.worker.sight.snapshot import RED_AFTER, AgentState, DaemonSnapshot

PATIENCE = 2.0
"""Seconds that a daemon has to answer; it answers in milliseconds or not at all."""

_LEAST_BYTES = 64 * 1024 * 1024
_LEAST_FILES = 256
_LONGEST_ANSWER = 16 * 1024 * 1024


@attrs.frozen
class Disk:
    """Space of the file system that the state folder is on. ``free_files`` is None where there is no such limit."""

    free_bytes: int
    total_bytes: int
    free_files: int | None

    @classmethod
    def of(cls, path: Path) -> Disk | None:
        """None when it cannot be told."""
        try:
            found = os.statvfs(path)
        except OSError:
            return None
        return cls(
            found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize, found.f_favail if found.f_files else None
        )

    @property
    def problem(self) -> str:
        if self.free_bytes < _LEAST_BYTES:
            return f"the disk of the state folder is full, or nearly so: {self.free_bytes} bytes are free"
        if self.free_files is not None and self.free_files < _LEAST_FILES:
            return f"the disk of the state folder takes only {self.free_files} more files"
        return ""


@attrs.frozen
class Claim:
    """The claim id that an agent asks the server with, and since when (Unix seconds)."""

    id: str
    since: float


@attrs.frozen
class AgentStatus:
    """One agent.

    ``snapshot`` is what it answered: None when it is not running, or does not answer. ``queues`` are names.
    """

    worker_id: str
    state: AgentState
    pid: int | None = None
    version: str = ""
    started_at: float | None = None
    queues: tuple[str, ...] = ()
    snapshot: DaemonSnapshot | None = None
    tasks: tuple[RunView, ...] = ()
    claim: Claim | None = None
    problems: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        return self.state is not AgentState.NOT_RUNNING


@attrs.frozen
class Survey:
    """A state folder. ``by_hand`` are tasks of ``execute``; ``now`` is Unix seconds."""

    state_dir: Path
    now: float
    agents: tuple[AgentStatus, ...]
    by_hand: tuple[RunView, ...]
    disk: Disk | None
    problems: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is red and there is an agent at all."""
        return bool(self.agents) and not self.problems and not any(agent.problems for agent in self.agents)


def take_survey(state_dir: Path, names: Sequence[str] = (), *, patience: float = PATIENCE) -> Survey:
    """Look at the agents of ``state_dir``, or at those of them that ``names`` has. Never waits longer than
    ``patience`` seconds for all of them together.
    """
    now = time.time()
    runs = list(runs_in(state_dir / "runs"))
    found = dict(_workers(state_dir / "workers"))
    answers = _ask({worker_id: worker.folder for worker_id, worker in found.items() if worker.alive}, patience)
    owners = dict.fromkeys([*found, *(run.owner_id for run in runs if run.owner_id)])
    agents = []
    for worker_id in sorted(owners):
        if names and worker_id not in names:
            continue
        mine = tuple(run for run in runs if run.owner_id == worker_id)
        worker = found.get(worker_id)
        if worker is None:
            agents.append(_stopped(AgentStatus(worker_id, AgentState.NOT_RUNNING, tasks=mine)))
        else:
            agents.append(_status(worker, answers.get(worker_id), mine, now))
    disk = Disk.of(state_dir)
    problems = tuple(filter(None, [disk.problem if disk else ""]))
    by_hand = tuple(run for run in runs if not run.owner_id and run.runner_pid is not None)
    return Survey(state_dir, now, tuple(agents), () if names else by_hand, disk, problems)


@attrs.frozen
class _Worker:
    """What ``worker.json`` says; it is there while an agent lives, and after one that died."""

    worker_id: str
    process: ProcessId | None
    record: Mapping[str, Any]
    folder: Path

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.alive


def _workers(folder: Path) -> Iterator[tuple[str, _Worker]]:
    for file in sorted(folder.glob("*/worker.json")):
        record = read_json(file)
        if isinstance(record, dict) and record.get("worker_id"):
            worker_id = str(record["worker_id"])
            yield worker_id, _Worker(worker_id, ProcessId.from_record(record.get("process")), record, file.parent)


def _status(worker: _Worker, snapshot: DaemonSnapshot | None, runs: tuple[RunView, ...], now: float) -> AgentStatus:
    record = worker.record
    status = AgentStatus(
        worker.worker_id,
        AgentState.NOT_RUNNING,
        version=str(record.get("version", "")),
        queues=tuple(str(name) for name in record.get("queues") or ()),
        tasks=runs,
        claim=_claim(worker.folder / "claim.json"),
    )
    if not worker.alive:
        return _stopped(status, died=True)
    assert worker.process is not None
    started = record.get("started_at")
    status = attrs.evolve(
        status, pid=worker.process.pid, started_at=float(started) if isinstance(started, int | float) else None
    )
    if snapshot is None:
        state = AgentState.WORKING if runs else AgentState.IDLE
        return attrs.evolve(status, state=state, problems=("it does not answer: the process hangs or is stopped",))
    return attrs.evolve(
        status,
        state=snapshot.state,
        version=snapshot.version,
        started_at=snapshot.started_at,
        queues=tuple(queue.name or queue.id for queue in snapshot.queues),
        snapshot=snapshot,
        problems=tuple(_problems(snapshot, now)),
    )


def _problems(snapshot: DaemonSnapshot, now: float) -> Iterable[str]:
    for loop in snapshot.unhealthy:
        yield f"loop {loop.name} has not worked for {loop.late_seconds:.0f} s: {loop.last_error or 'it hangs'}"
    server = snapshot.server
    if server.reachable is False and now - (server.last_success_at or snapshot.started_at) > RED_AFTER:
        yield f"the server does not answer: {server.last_error}"


def _stopped(status: AgentStatus, *, died: bool = False) -> AgentStatus:
    problems = ["it died, or was killed"] if died else []
    if status.tasks:
        count = "a task" if len(status.tasks) == 1 else f"{len(status.tasks)} tasks"
        problems.append(f"it has left {count} unfinished: start it again, and it brings them to their end")
    return attrs.evolve(status, problems=tuple(problems))


def _claim(file: Path) -> Claim | None:
    record = read_json(file)
    if not isinstance(record, dict) or not record.get("claim"):
        return None
    try:
        return Claim(str(record["claim"]), file.stat().st_mtime)
    except OSError:
        return None


def _ask(folders: Mapping[str, Path], patience: float) -> dict[str, DaemonSnapshot]:
    """What the daemons of ``folders`` answer within ``patience`` seconds, all asked at once."""
    deadline = time.monotonic() + patience
    heard: dict[str, bytearray] = {}
    answers = {}
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for worker_id, folder in folders.items():
            connection = _connect(folder)
            if connection is not None:
                stack.enter_context(connection)
                selector.register(connection, selectors.EVENT_READ, worker_id)
                heard[worker_id] = bytearray()
        while selector.get_map() and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                worker_id = key.data
                data = _receive(key.fileobj)
                heard[worker_id] += data
                if data and len(heard[worker_id]) < _LONGEST_ANSWER:
                    continue
                selector.unregister(key.fileobj)
                snapshot = _parse(heard[worker_id])
                if snapshot is not None:
                    answers[worker_id] = snapshot
    return answers


def _connect(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connection.connect(short_address(handle))
        finally:
            os.close(handle)
    except OSError:  # no socket, nobody behind it, or too many before us
        connection.close()
        return None
    return connection


def _receive(connection: Any) -> bytes:
    try:
        data: bytes = connection.recv(65536)
    except OSError:
        return b""
    return data


def _parse(data: bytearray) -> DaemonSnapshot | None:
    try:
        return DaemonSnapshot.from_record(json.loads(data))
    except ValueError:
        return None


__all__ = ["PATIENCE", "SOCKET_NAME", "AgentStatus", "Claim", "Disk", "Survey", "take_survey"]
