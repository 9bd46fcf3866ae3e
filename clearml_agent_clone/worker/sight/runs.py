"""What the folders of runs tell, whether or not anybody runs them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.logs.gaps import load_gaps
from clearml_agent_clone.logs.record import load_record
from clearml_agent_clone.logs.spool import SPOOL_NAME
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import read_json


@attrs.frozen
class ConsoleView:
    """How far a console has been delivered, in bytes of the spool.

    ``lost_bytes`` were refused by the server for good, or given up to keep the disk from filling up while it was away;
    ``backlog_bytes`` are still to be sent.
    """

    written_bytes: int = 0
    delivered_bytes: int = 0
    backlog_bytes: int = 0
    lost_bytes: int = 0
    delivered_lines: int = 0

    @classmethod
    def of(cls, folder: RunFolder) -> ConsoleView:
        try:
            written = (folder.logs / SPOOL_NAME).stat().st_size
        except OSError:  # not made yet, or gone: nothing to deliver
            return cls()
        mark = load_record(folder.logs).done
        passed = min(mark.place.offset, written)
        lost, given_up = mark.lost_bytes + mark.dropped_bytes, _gaps_after(folder.logs, passed)
        return cls(written, max(0, passed - lost), max(0, written - passed - given_up), lost + given_up, mark.lines)


def _gaps_after(logs: Path, offset: int) -> int:
    """Bytes behind ``offset`` that will not be sent any more."""
    return sum(max(0, gap.end - max(gap.begin, offset)) for gap in load_gaps(logs))


@attrs.frozen
class RunView:
    """A run as its folder shows it.

    Attributes:
        owner_id: worker id of the daemon that took the task; empty for ``execute``.
        since: Unix seconds when it came into ``state``.
        gpus: the devices for the task; None for all.
        runner_pid: the runner's, None when it is dead.
        pid: the user's process's, None when there is none (yet, or any more).
        start_seconds: from the claim to the start of the user's process.
    """

    task_id: str
    run_id: str
    worker_id: str
    owner_id: str
    queue_id: str
    state: State
    since: float
    gpus: str | None
    runner_pid: int | None
    pid: int | None
    console: ConsoleView
    start_seconds: float | None = None

    @classmethod
    def of(cls, folder: RunFolder) -> RunView | None:
        """None when the folder holds no job, or is being removed."""
        job = Job.from_record(read_json(folder.path / "job.json"))
        if job is None:
            return None
        journal = Journal.open(folder.state_file)
        started = journal.times.get(State.RUNNING)
        return cls(
            task_id=job.task_id,
            run_id=job.run_id,
            worker_id=job.worker_id,
            owner_id=job.owner_id,
            queue_id=job.queue_id,
            state=journal.state,
            since=journal.times.get(journal.state, job.claimed_at),
            gpus=job.visible_devices,
            runner_pid=_living(folder, "runner"),
            pid=_living(folder, "user"),
            console=ConsoleView.of(folder),
            start_seconds=None if started is None else max(0.0, started - job.claimed_at),
        )

    def to_record(self) -> dict[str, Any]:
        """For ``status --json``."""
        return {**attrs.asdict(self), "state": self.state.value}


def runs_in(runs: Path) -> Iterator[RunView]:
    """The runs whose folders are in ``runs`` and that have not come to their end, oldest first."""
    try:
        paths = sorted(path for path in runs.iterdir() if not path.name.startswith("."))
    except OSError:
        return
    for path in paths:
        view = RunView.of(RunFolder(path))
        if view is not None and (view.state is not State.DONE or view.runner_pid is not None):
            yield view


def _living(folder: RunFolder, name: str) -> int | None:
    process = folder.process(name)
    return process.pid if process is not None and process.alive else None
