"""Runners without their work: what is started, found again, counted and cleared away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.worker.estate import LOOK, Estate
from clearml_agent_clone.worker.nursery import Born, Nursery
from clearml_agent_clone.worker.records import PollRecord
from clearml_agent_clone.worker.registry import WorkerName, register
from clearml_agent_clone.worker.runners import ActiveRun, Runners, StartFailed
from clearml_agent_clone.worker.settling import Duty, Fate, Settling


@attrs.define
class Sleepers:
    """In the place of a nursery: what it starts sleeps, and has no idea of tasks."""

    children: list[subprocess.Popen[bytes]] = attrs.Factory(list)
    error: OSError | None = None

    def start(self, folder: Path) -> Born:
        if self.error is not None:
            raise self.error
        child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
        self.children.append(child)
        process = ProcessId.of(child.pid)
        assert process is not None
        RunFolder(folder).claim_for("runner", child.pid)
        return Born(process, child)


class NoCalls:
    """A server that nothing is asked of."""

    def put_back(
        self,
        task_id: str,
        queue_id: str,
        *,
        reason: str = "",
        message: str = "",
        worker_id: str = "",
        retry: Retry | None = None,
    ) -> bool:
        raise AssertionError(task_id)

    def fail_taken(
        self, task_id: str, worker_id: str, *, reason: str, message: str = "", retry: Retry | None = None
    ) -> bool:
        raise AssertionError(task_id)


@pytest.fixture
def nursery() -> Iterator[Sleepers]:
    made = Sleepers()
    yield made
    for child in made.children:
        child.kill()
        child.wait()


def make(tmp_path: Path, nursery: Sleepers) -> Runners:
    return Runners(tmp_path / "runs", nursery, lambda: None)  # type: ignore[arg-type] # all that is used of it


def job(task: str = "t", owner: str = "host:0") -> Job:
    return Job(f"run-{task}", task, owner, 1.0, owner_id=owner, queue_id="q", claim_id=f"c-{task}")


def reaped(runners: Runners) -> list[ActiveRun]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        ended = runners.reap(1.0)
        if ended:
            return ended
    raise AssertionError("nothing has ended")


def kill(nursery: Sleepers, number: int = -1) -> None:
    nursery.children[number].kill()


def test_a_run_takes_its_slot_until_it_ends(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    run = runners.start(job())
    assert (runners.taken, runners.own) == (1, [run])
    kill(nursery)
    assert reaped(runners) == [run]
    assert runners.taken == 1, "it may get another runner"
    runners.settled(run)
    assert runners.taken == 0


def test_what_cannot_be_started_is_on_disk_and_what_cannot_be_written_is_not(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    nursery.error = BlockingIOError(11, "Resource temporarily unavailable")
    with pytest.raises(StartFailed, match="Resource temporarily unavailable") as caught:
        runners.start(job())
    assert caught.value.folder.job() == job()
    assert runners.taken == 0
    (tmp_path / "runs" / "run-other").write_text("in the way")
    with pytest.raises(AgentError):
        runners.start(job("other"))


def test_a_living_runner_is_adopted_and_a_dead_one_succeeded(tmp_path: Path, nursery: Sleepers) -> None:
    first = make(tmp_path, nursery)
    alive, dead = first.start(job("alive")), first.start(job("dead"))
    kill(nursery)
    nursery.children[-1].wait()
    second = make(tmp_path, nursery)
    taken = {found.task_id: second.take_up(found, folder) for found, folder in second.folders()}
    assert taken["alive"] is not None
    assert (taken["alive"].process, taken["alive"].successor) == (alive.process, False)
    assert taken["dead"] is not None
    assert taken["dead"].process != dead.process
    assert taken["dead"].successor
    assert second.taken == 2


def test_a_successor_that_cannot_be_started_keeps_the_slot_and_is_tried_again(
    tmp_path: Path, nursery: Sleepers, caplog: pytest.LogCaptureFixture
) -> None:
    runners = make(tmp_path, nursery)
    run = runners.start(job())
    kill(nursery)
    reaped(runners)
    nursery.error = OSError(12, "Cannot allocate memory")
    runners.restart(run)
    runners.settled(run)
    runners.reap(0)
    assert (runners.taken, runners.active) == (1, [])
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1
    nursery.error = None
    runners.reap(0)
    assert [again.successor for again in runners.active] == [True]
    assert runners.taken == 1


def test_a_successor_may_be_put_off(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    run = runners.start(job())
    kill(nursery)
    reaped(runners)
    runners.restart(run, 1000)
    runners.settled(run)
    runners.reap(0)
    assert (runners.taken, runners.active) == (1, [])
    runners._unstarted[run.job.run_id] = attrs.evolve(runners._unstarted[run.job.run_id], not_before=0.0)
    runners.reap(0)
    assert len(runners.active) == 1


def test_a_pid_that_is_somebody_elses_now_is_no_runner(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    folder = RunFolder.create(tmp_path / "runs", job())
    own = ProcessId.of(os.getpid())
    assert own is not None
    stale = attrs.evolve(own, started=own.started - 5)
    (folder.path / "runner.json").write_text(json.dumps(stale.to_record()))
    run = runners.take_up(job(), folder)
    assert run is not None
    assert run.successor


def test_what_is_done_is_cleared_away(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    folder = RunFolder.create(tmp_path / "runs", job())
    done(folder)
    assert runners.take_up(job(), folder) is None
    assert not folder.path.exists()
    runners.discard(folder)  # another agent was faster


def done(folder: RunFolder) -> None:
    journal = Journal.open(folder.state_file)
    for state in (State.FINISHING, State.DONE):
        journal.move(state)


def test_folders_of_others_make_no_trouble(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    for name, text in (("a", "{"), ("b", '{"format": 99}'), (".gone-c", json.dumps(job("c").to_record()))):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "job.json").write_text(text)
    (tmp_path / "runs" / "file").touch()
    assert list(runners.folders()) == []


# --- the runs of agents that are gone ----------------------------------------------------------------------------


def estate(tmp_path: Path, runners: Runners, later: float = 2 * LOOK) -> tuple[Estate, Settling]:
    settling = Settling(NoCalls(), lambda _: None)
    polls = PollRecord(tmp_path / "workers" / "host_1" / "poll.json", 0.0)
    return Estate(tmp_path, "host:1", runners, settling, polls, clock=lambda: time.time() + later), settling


def test_dead_runs_of_a_dead_agent_are_ended_and_take_no_slot(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    RunFolder.create(tmp_path / "runs", job("dead"))
    look, _ = estate(tmp_path, runners)
    assert look.step(0) == LOOK
    assert [(run.job.task_id, run.foreign, run.successor) for run in runners.active] == [("dead", True, True)]
    assert runners.taken == 0
    look.step(1)
    assert len(nursery.children) == 1


def test_others_runs_are_left_alone(tmp_path: Path, nursery: Sleepers) -> None:
    """Own ones, new ones, those whose runner lives, and those whose agent lives."""
    runners = make(tmp_path, nursery)
    registration = register(tmp_path, WorkerName("host", "living"))
    for task, owner in (("own", "host:1"), ("of a living agent", "living"), ("running", "gone")):
        RunFolder.create(tmp_path / "runs", job(task, owner))
    running = RunFolder(tmp_path / "runs" / "run-running")
    lock = running.hold()
    assert lock is not None
    look, _ = estate(tmp_path, runners)
    look.step(0)
    RunFolder.create(tmp_path / "runs", job("new", "gone"))
    estate(tmp_path, runners, later=0)[0].step(0)
    assert nursery.children == []
    os.close(lock)
    registration.release()
    estate(tmp_path, runners)[0].step(0)
    assert {run.job.task_id for run in runners.active} == {"of a living agent", "running", "new"}


def test_duties_and_finished_runs_of_a_dead_agent(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    owed, over, kept = (
        RunFolder.create(tmp_path / "runs", job(task, owner))
        for task, owner in (("owed", "gone"), ("over", "gone"), ("kept", ""))
    )
    Duty(owed.job(), owed, Fate.FAIL, "why").write()
    done(over)
    done(kept)
    look, settling = estate(tmp_path, runners)
    look.step(0)
    assert [duty.job.task_id for duty in settling.open] == ["owed"]
    assert not over.path.exists()
    assert kept.path.exists(), "execute was told to keep it"
    assert nursery.children == []


def test_the_doubts_of_an_agent_that_is_gone_are_taken_over(tmp_path: Path, nursery: Sleepers) -> None:
    runners = make(tmp_path, nursery)
    records = {}
    for worker in ("host_1", "gone", "living"):
        (tmp_path / "workers" / worker).mkdir(parents=True)
        records[worker] = PollRecord(tmp_path / "workers" / worker / "poll.json", 0.0)
        records[worker].polling([worker])
    registration = register(tmp_path, WorkerName("host", "living"))
    own = records["host_1"]
    Estate(tmp_path, "host:1", runners, Settling(NoCalls(), lambda _: None), own, clock=lambda: 50.0).step(0)
    assert (own.queue_ids, own.doubt) == (("host_1", "gone"), 50.0)
    assert not (tmp_path / "workers" / "gone" / "poll.json").exists()
    assert (tmp_path / "workers" / "living" / "poll.json").exists()
    registration.release()


def test_the_real_nursery_has_the_shape_that_is_used(tmp_path: Path) -> None:
    assert Runners(tmp_path / "runs", Nursery(), lambda: None).taken == 0
