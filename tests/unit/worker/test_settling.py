from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.errors import AgentError, Fatal, Retryable
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.worker.settling import Duty, Fate, Settling, settle


@attrs.define
class Tasks:
    """The server: says what was asked, and whether it worked."""

    calls: list[tuple[str, ...]] = attrs.Factory(list)
    queue_exists: bool = True
    failable: bool = True
    error: AgentError | None = None

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
        if self.error is not None:
            raise self.error
        self.calls.append(("put_back", task_id, queue_id, reason, worker_id))
        return self.queue_exists

    def fail_taken(
        self, task_id: str, worker_id: str, *, reason: str, message: str = "", retry: Retry | None = None
    ) -> bool:
        if self.error is not None:
            raise self.error
        self.calls.append(("fail", task_id, worker_id, reason))
        return self.failable


def job(task: str = "t", queue: str = "q") -> Job:
    return Job(f"run-{task}", task, "host:0", 1.0, owner_id="host:0", queue_id=queue)


def duty(tmp_path: Path, task: str = "t", fate: Fate = Fate.FAIL) -> Duty:
    return Duty(job(task), RunFolder.create(tmp_path, job(task)), fate, "runner lost")


def test_put_back_or_failed(tmp_path: Path) -> None:
    tasks = Tasks()
    assert settle(tasks, job(), Fate.REQUEUE, "why") == "put back to the head of its queue"
    assert settle(tasks, job(), Fate.FAIL, "why") == "failed"
    assert tasks.calls == [("put_back", "t", "q", "why", "host:0"), ("fail", "t", "host:0", "why")]


def test_a_task_whose_queue_is_gone_fails(tmp_path: Path) -> None:
    tasks = Tasks(queue_exists=False)
    assert settle(tasks, job(), Fate.REQUEUE, "why") == "failed"
    assert tasks.calls[-1] == ("fail", "t", "host:0", "why; its queue is gone")
    assert settle(Tasks(), job(queue=""), Fate.REQUEUE, "why") == "failed"
    assert "left as it is" in settle(Tasks(failable=False), job(), Fate.FAIL, "why")


def test_a_duty_is_kept_until_it_is_done_also_for_the_next_daemon(tmp_path: Path) -> None:
    tasks = Tasks(error=Retryable("away"))
    done: list[Duty] = []
    settling = Settling(tasks, done.append)
    woken = []
    settling.on_new = lambda: woken.append(1)
    mine = duty(tmp_path)
    settling.owe(mine)
    assert woken == [1]
    for now in range(3):
        with pytest.raises(Retryable):
            settling.step(now)
    assert Duty.of(mine.job, mine.folder) == mine
    tasks.error = None
    assert settling.step(4) > 600
    assert (done, settling.open) == ([mine], [])


def test_one_that_cannot_be_done_does_not_stop_the_others(tmp_path: Path) -> None:
    tasks = Tasks(error=Fatal("refused"))
    settling = Settling(tasks, lambda _: None)
    first, second = duty(tmp_path, "one"), duty(tmp_path, "two")
    settling.owe(first)
    settling.step(0)
    assert settling.open == []
    assert first.folder.path.exists(), "the next start of an agent tries again"
    tasks.error = None
    settling.owe(second)
    settling.step(1)
    assert tasks.calls == [("fail", "two", "host:0", "runner lost")]


def test_a_full_disk_does_not_undo_the_duty(tmp_path: Path) -> None:
    tasks = Tasks()
    settling = Settling(tasks, lambda _: None)
    mine = duty(tmp_path)
    gone = attrs.evolve(mine, folder=RunFolder(tmp_path / "not there"))
    settling.owe(gone)
    settling.step(0)
    assert tasks.calls


@pytest.mark.parametrize("text", ["", "[]", '{"fate": "eaten", "reason": ""}', '{"fate": "fail"}'])
def test_foreign_duties_are_none(tmp_path: Path, text: str) -> None:
    folder = RunFolder.create(tmp_path, job())
    (folder.path / "duty.json").write_text(text)
    assert Duty.of(job(), folder) is None


def test_a_duty_of_a_newer_version_is_read(tmp_path: Path) -> None:
    mine = duty(tmp_path)
    record = {"fate": "fail", "reason": "runner lost", "format": 4, "more": {}}
    (mine.folder.path / "duty.json").write_text(json.dumps(record))
    assert Duty.of(mine.job, mine.folder) == mine
