"""A script that starts at its user's machine and goes on at a worker."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.sdk


@pytest.fixture(scope="module")
def sent(user: Any, worker: Any) -> str:
    output = user.run("remote.py", worker=worker)
    assert "running remotely" not in output
    return str(user.task_of(output))


def test_execute_remotely_goes_on_at_the_worker(user: Any, worker: Any, sent: str) -> None:
    assert "running remotely: True, steps=2" in user.completed(sent, worker)


def test_exit_code_of_the_user_code_fails_the_task(user: Any, worker: Any, sent: str) -> None:
    user.wait(sent, worker.patience)
    clone = user.clone(sent, General__steps="5")
    user.enqueue(clone, worker.queue)
    task = user.wait(clone, worker.patience)
    console = user.console(clone)
    assert "steps=5" in console
    assert task["status"] == "failed", console
    assert "exit code 3" in task["status_reason"]


def test_uncommitted_changes_travel_with_the_task(user: Any, worker: Any, sent: str) -> None:
    script = user.project / "remote.py"
    committed = script.read_text()
    try:
        script.write_text(committed.replace("running remotely", "changed after the commit, running remotely"))
        task = user.task_of(user.run("remote.py", worker=worker))
    finally:
        script.write_text(committed)
    assert "changed after the commit, running remotely: True" in user.completed(task, worker)
