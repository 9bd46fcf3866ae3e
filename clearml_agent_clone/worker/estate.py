"""The runs of agents that are gone for good: somebody has to end them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import slug
from clearml_agent_clone.worker.records import POLL_FILE, PollRecord
from clearml_agent_clone.worker.registry import is_taken
from clearml_agent_clone.worker.runners import Runners
from clearml_agent_clone.worker.settling import Duty, Fate, Settling

LOOK = 60.0
"""Seconds between two looks; also how old a run must be, so that one that is just being started is left alone."""


class Estate:
    """Looks for unfinished runs without a runner whose agent does not live, and brings them to their end.

    Living runners need nobody: they are left to finish by themselves, and only their folders are cleared away. A run
    belongs to the agent that took it for as long as that agent's worker id is held, so an agent that comes back finds
    its own. Two agents may find the same run; a folder has one runner.

    Args:
        state_dir: the state folder.
        owner_id: our own worker id; our own runs are adopted at the start.
        runners: start the successors; they take no slot of ours.
        settling: takes the duties that were left.
        polls: takes the doubts that were left.
        clock: Unix seconds.
    """

    name = "estate"

    def __init__(
        self,
        state_dir: Path,
        owner_id: str,
        runners: Runners,
        settling: Settling,
        polls: PollRecord,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state_dir = state_dir
        self._owner_id = owner_id
        self._runners = runners
        self._settling = settling
        self._polls = polls
        self._clock = clock

    def step(self, now: float) -> float:
        """Look once."""
        del now
        for job, folder in self._runners.folders():
            if job.owner_id != self._owner_id and self._is_left(job, folder):
                self._end(job, folder)
        self._take_doubts()
        return LOOK

    def _take_doubts(self) -> None:
        """An agent that was killed while it polled may have been sent a task."""
        for file in (self._state_dir / "workers").glob(f"*/{POLL_FILE}"):
            worker = file.parent.name
            if worker != slug(self._owner_id) and not is_taken(self._state_dir, worker):
                self._polls.inherit(PollRecord(file, self._clock()))
                file.unlink(missing_ok=True)

    def _is_left(self, job: Job, folder: RunFolder) -> bool:
        known = {run.job.run_id for run in self._runners.active} | {duty.job.run_id for duty in self._settling.open}
        if job.run_id in known or folder.held:
            return False
        process = folder.process("runner")
        if process is not None and process.alive:
            return False
        try:
            age = self._clock() - (folder.path / "job.json").stat().st_mtime
        except OSError:
            return False  # it is being cleared away
        return age >= LOOK and not (job.owner_id and is_taken(self._state_dir, job.owner_id))

    def _end(self, job: Job, folder: RunFolder) -> None:
        duty, state = Duty.of(job, folder), Journal.open(folder.state_file).state
        if duty is None and state is State.CLAIMED and not job.owner_id:
            # who started it by hand may have done so again since; it is not ours to run
            duty = Duty(job, folder, Fate.FAIL, "runner lost: execute died before the task was in progress")
        if duty is not None:
            self._settling.owe(duty)
        elif state is not State.DONE:
            self._runners.take_up(job, folder, foreign=True)
        elif job.owner_id:  # what ``execute`` was told to keep, stays
            self._runners.discard(folder)
