"""The runs that go on when their daemon is dead: find them, and end them without it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from clearml_agent_clone.launch.processes import ProcessId, wait_exit
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import read_json
from clearml_agent_clone.worker.fates import fate_of
from clearml_agent_clone.worker.stopmode import StopMode

KILL_AFTER = 15.0
"""Seconds that a runner has to end its task at once, before both are killed."""


@attrs.frozen
class Survivor:
    """A run whose runner lives."""

    job: Job
    folder: RunFolder
    process: ProcessId


def survivors(state_dir: Path, worker_id: str) -> list[Survivor]:
    """The runs of that worker whose runners live, oldest first."""
    found = []
    for path in sorted((state_dir / "runs").glob("*")):
        folder, job = RunFolder(path), Job.from_record(read_json(path / "job.json"))
        process = folder.process("runner")
        if job is not None and job.owner_id == worker_id and process is not None and process.alive:
            found.append(Survivor(job, folder, process))
    return found


def end_survivors(
    state_dir: Path, worker_id: str, mode: StopMode, patience: float | None, say: Callable[[str], None]
) -> bool:
    """End them as ``mode`` says and tell what became of their tasks; whether all have ended.

    DRAIN leaves them alone and waits. Whoever is killed is reported to the server by the next agent of this machine.
    """
    runs = survivors(state_dir, worker_id)
    number = {StopMode.STOP: signal.SIGTERM, StopMode.NOW: signal.SIGQUIT}.get(mode)
    for run in runs:
        if number is not None and run.process.alive:
            os.kill(run.process.pid, number)
            os.kill(run.process.pid, signal.SIGCONT)  # one that is suspended could not obey
    deadline = None if patience is None else time.monotonic() + (KILL_AFTER if mode is StopMode.NOW else patience)
    ended = [_see_end(run, mode, deadline, say) for run in runs]  # all of them, whatever became of the first
    return all(ended)


def _see_end(run: Survivor, mode: StopMode, deadline: float | None, say: Callable[[str], None]) -> bool:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    task = f"task {run.job.task_id}"
    if not wait_exit(run.process.pid, left) and run.process.alive:
        journal = Journal.open(run.folder.state_file)
        if journal.state is State.FINISHING:
            say(f"{task}: has ended; its runner (pid {run.process.pid}) is still delivering its console and its status")
            return True
        if mode is not StopMode.NOW:
            say(f"{task}: has not ended; --stop --now kills it")
            return False
        return _kill(run, task, say)
    journal = Journal.open(run.folder.state_file)
    if journal.state is not State.DONE:
        say(f"{task}: its runner has died; the next agent on this machine reports it")
        return True
    say(f"{task}: {fate_of(journal)}")
    shutil.rmtree(run.folder.path, ignore_errors=True)
    return True


def _kill(run: Survivor, task: str, say: Callable[[str], None]) -> bool:
    from clearml_agent_clone.launch.local import clear  # noqa: PLC0415 - seldom needed
    from clearml_agent_clone.launch.place import Place  # noqa: PLC0415

    if run.process.alive:
        os.kill(run.process.pid, signal.SIGKILL)
    wait_exit(run.process.pid, 5.0)
    left = clear(Place(run.folder.path, run.job.run_id))
    if left:
        say(f"{task}: processes {', '.join(map(str, left))} did not end even when killed")
        return False
    say(f"{task}: killed with its runner; the next agent on this machine reports it")
    return True
