"""``clearml-agent execute`` over real HTTP."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.helpers.worker_tools import Agent, until


@pytest.mark.parametrize(("code", "exit_code"), [("print('hi')\n", 0), ("raise SystemExit(7)\n", 7)])
def test_the_exit_code_is_the_tasks_own_and_the_console_is_shown(agent: Agent, code: str, exit_code: int) -> None:
    task = agent.task(code)
    ended = agent.run("execute", "--id", task, "--log-file", "console.txt")
    assert ended.returncode == exit_code, ended.stderr
    assert "Timing: source" in ended.stdout
    assert ("hi\n" in ended.stdout) == (exit_code == 0)
    assert (agent.home / "console.txt").read_text() == ended.stdout
    assert agent.get(task)["status"] == ("completed" if exit_code == 0 else "failed")
    assert ended.stdout.strip() in agent.console(task) + ended.stdout
    assert agent.server.call("workers.get_all")["workers"] == []
    assert list((agent.state / "runs").iterdir()) == []


def test_a_task_may_be_named(agent: Agent) -> None:
    agent.task()
    assert agent.run("execute", "--id", "A Task").returncode == 0


def test_a_clone_runs_and_the_task_stays(agent: Agent) -> None:
    task = agent.task()
    assert agent.run("execute", "--id", task, "--clone").returncode == 0
    assert agent.get(task)["status"] == "created"
    found = agent.server.call("tasks.get_all", name="^Clone of a task$")["tasks"]
    assert [clone["status"] for clone in found] == ["completed"]


def test_require_queue_means_it(agent: Agent) -> None:
    task = agent.task()
    refused = agent.run("execute", "--id", task, "--require-queue")
    assert refused.returncode == 1
    assert "it waits in no queue" in refused.stderr
    assert agent.get(task)["status"] == "created"
    agent.enqueue(task)
    assert agent.run("execute", "--id", task, "--require-queue").returncode == 0
    assert agent.server.call("queues.get_by_id", queue=agent.queue())["queue"]["entries"] == []


def test_a_dry_run_prints_the_plan_and_does_nothing(agent: Agent) -> None:
    task = agent.task(requirements={"pip": "six==1.16.0\n"})
    shown = agent.run("execute", "--id", task, "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "six==1.16.0" in shown.stdout or "recorded" in shown.stdout
    assert agent.get(task)["status"] == "created"
    assert not (agent.state / "runs").exists()
    assert not (agent.home / ".clearml" / "venvs-cache").exists()


def test_a_finished_task_can_be_run_again_a_published_one_not(agent: Agent) -> None:
    task = agent.task()
    for _ in range(2):
        assert agent.run("execute", "--id", task).returncode == 0
    agent.server.call("tasks.publish", task=task)
    refused = agent.run("execute", "--id", task)
    assert refused.returncode == 1
    assert "is published and cannot be run again. Run a clone of it with --clone" in refused.stderr


def test_ctrl_c_ends_the_task_and_says_so(agent: Agent) -> None:
    task = agent.task("import time\nprint('up', flush=True)\ntime.sleep(100)\n")
    log = agent.home / "out"
    with log.open("w") as output:
        child = subprocess.Popen(
            agent.command("execute", "--id", task), env=agent.environ, cwd=agent.home, stdout=output, stderr=output
        )
    until(lambda: "up\n" in log.read_text())
    child.send_signal(signal.SIGINT)
    assert child.wait(40) == 254
    seen = agent.get(task)
    assert (seen["status"], seen["status_reason"]) == ("stopped", "user abort")
    assert "Process terminated by user" in log.read_text()


def test_an_abort_from_the_server_is_obeyed(agent: Agent) -> None:
    task = agent.task("import time\nprint('up', flush=True)\ntime.sleep(100)\n")
    child = subprocess.Popen(
        agent.command("execute", "--id", task), env=agent.environ, cwd=agent.home, stdout=subprocess.DEVNULL
    )
    agent.shows(task, "up")
    agent.server.call("tasks.stop", task=task)
    assert child.wait(40) == 254
    assert agent.get(task)["status_reason"] == "task was stopped by tasks.stop"


def test_a_log_file_that_cannot_be_written_is_refused_before_anything_is_done(agent: Agent, tmp_path: Path) -> None:
    task = agent.task()
    refused = agent.run("execute", "--id", task, "--log-file", str(tmp_path / "missing" / "file"))
    assert refused.returncode == 1
    assert "--log-file" in refused.stderr
    assert agent.get(task)["status"] == "created"
