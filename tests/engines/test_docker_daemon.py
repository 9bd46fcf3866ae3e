"""``daemon --docker`` with a real docker: who may die, and what becomes of the container."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from clearml_agent_clone.containers.engine import CliEngine
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.worker.containers import reap_stale
from tests.helpers.docker_tools import IMAGE, contained, containers, docker
from tests.helpers.runner_tools import TICKS
from tests.helpers.worker_tools import Agent, until

pytestmark = pytest.mark.engine

COUNT = TICKS.replace("COUNT", "80")


def runner_of(agent: Agent) -> int:
    """The pid of the one runner that there is."""
    from clearml_agent_clone.runner.job import RunFolder

    (folder,) = [path for path in (agent.state / "runs").iterdir() if not path.name.startswith(".")]
    found = until(lambda: RunFolder(folder).process("runner"))
    return int(found.pid)


def ticks(agent: Agent, task: str) -> int:
    return agent.console(task).count("tick ")


def test_a_task_of_a_queue(boxed: Agent) -> None:
    boxed.queue()
    boxed.daemon("--queue", "default", "--docker", IMAGE)
    assert f"using default docker image: {IMAGE}" in boxed.log()
    task = boxed.enqueue(boxed.task("print('in', open('/proc/1/comm').read())\n", binary="python3"))
    found = boxed.final(task)
    assert found["status"] == "completed", boxed.console(task)
    assert found["container"]["image"] == IMAGE
    assert "in docker-init" in boxed.console(task) or "in tini" in boxed.console(task)
    until(lambda: not containers(task))


@pytest.mark.parametrize("end", ["", "raise SystemExit(5)\n"])
def test_a_container_outlives_daemon_runner_and_client(boxed: Agent, end: str) -> None:
    boxed.queue()
    daemon = boxed.daemon("--queue", "default", "--docker", IMAGE)
    task = boxed.enqueue(boxed.task(COUNT + end, binary="python3"))
    boxed.shows(task, "tick 3\n")
    (container,) = containers(task)
    runner = runner_of(boxed)
    if end:  # everything of ours, and of docker's on this side
        daemon.kill()
        os.kill(runner, signal.SIGKILL)
        subprocess.run(["pkill", "-9", "-f", f"docker start .*{container}"], check=True)
        daemon.wait()
        boxed.daemon("--queue", "default", "--docker", IMAGE)
    else:
        os.kill(runner, signal.SIGKILL)
        until(lambda: runner_of(boxed) != runner)
    assert containers(task) == [container]
    found = boxed.final(task)
    assert found["status_reason"] == (f"worker execution exit code {5}" if end else "worker execution done")
    assert ticks(boxed, task) == 80
    until(lambda: not containers(task))


def test_an_adopted_container_is_aborted(boxed: Agent) -> None:
    boxed.queue()
    boxed.daemon("--queue", "default", "--docker", IMAGE)
    task = boxed.enqueue(boxed.task(TICKS.replace("COUNT", "3000"), binary="python3"))
    boxed.shows(task, "tick 3\n")
    os.kill(runner_of(boxed), signal.SIGKILL)
    boxed.server.call("tasks.stop", task=task)
    assert boxed.final(task)["status"] == "stopped"
    until(lambda: not containers(task))


def test_containers_whose_run_is_over_are_removed_and_others_stay(boxed: Agent) -> None:
    task = contained(boxed)
    assert boxed.run("execute", "--id", task, "--docker").returncode == 0  # makes the state folder's mark
    mark = (boxed.state / "home-id").read_text()
    label = ["--label", f"clearml-agent-home={mark}"]
    stale = docker("create", *label, "--label", "clearml-run-id=gone", IMAGE, "true").stdout.strip()
    running = docker("run", "-d", *label, "--label", "clearml-run-id=gone2", IMAGE, "sleep", "300").stdout.strip()
    (boxed.state / "runs" / "here").mkdir(parents=True)
    wanted = docker("create", *label, "--label", "clearml-run-id=here", IMAGE, "true").stdout.strip()
    other = docker(
        "create", "--label", "clearml-agent-home=other", "--label", "clearml-run-id=gone", IMAGE
    ).stdout.strip()
    try:
        removed = reap_stale(CliEngine(Engine.DOCKER), boxed.state / "runs")
        left = docker("ps", "-aq", "--no-trunc").stdout.split()
        assert set(removed) == {stale, running}
        assert {wanted, other} <= set(left)
        assert not {stale, running} & set(left)
    finally:
        docker("rm", "-f", stale, running, wanted, other, check=False)
