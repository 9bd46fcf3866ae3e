"""How agents end: drained, stopped, at once; by signal, by ``--stop``; living, suspended, dead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.worker_tools import Agent, until

pytestmark = pytest.mark.slow  # all together; one by one they take seconds

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)\n"
SHORT = "import time\nprint('up', flush=True)\ntime.sleep(4)\n"


def _user(agent: Agent) -> int:
    return int(json.loads(next((agent.state / "runs").glob("2*/user.json")).read_text())["pid"])


def _runner(agent: Agent) -> int:
    return int(json.loads(next((agent.state / "runs").glob("2*/runner.json")).read_text())["pid"])


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] in {b"Z", b"X"}
    except OSError:
        return True


def _running(agent: Agent, code: str = SLEEPER) -> tuple[subprocess.Popen[str], str]:
    daemon = agent.daemon()
    task = agent.enqueue(agent.task(code))
    agent.shows(task, "up")
    return daemon, task


def test_ctrl_c_stops_gracefully_and_says_so_and_a_second_one_at_once(agent: Agent) -> None:
    daemon, task = _running(agent, DEAF)
    began = time.monotonic()
    daemon.send_signal(signal.SIGINT)
    until(lambda: "stopping: 1 running tasks are ended" in agent.log())
    assert agent.get(task)["status"] == "in_progress", "it has time to save"
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(30) == 0
    assert time.monotonic() - began < 25, "the grace is 30 s"
    assert "stopping at once" in agent.log()
    assert agent.get(task)["status"] == "stopped"


def test_stop_tells_what_became_of_the_task(agent: Agent) -> None:
    daemon, task = _running(agent)
    ended = agent.run("daemon", "--stop")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"task {task}: stopped (user abort: the agent was stopped)" in ended.stdout
    assert "worker_id=tester:0 has ended" in ended.stdout
    assert daemon.wait(5) == 0
    assert agent.get(task)["status"] == "stopped"


@pytest.mark.parametrize(("setting", "status"), [("requeue", "queued"), ("fail", "failed")])
def test_the_fate_of_stopped_tasks_is_a_setting(agent: Agent, setting: str, status: str) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__ON_SHUTDOWN": setting}
    _, task = _running(agent)
    ended = agent.run("daemon", "--stop")
    assert ended.returncode == 0
    assert agent.get(task)["status"] == status
    assert f"task {task}: {'requeued' if setting == 'requeue' else 'failed'} (" in ended.stdout


def test_stop_drain_lets_the_task_finish(agent: Agent) -> None:
    _, task = _running(agent, SHORT)
    waiting = agent.enqueue(agent.task())
    ended = agent.run("daemon", "--stop", "--drain")
    assert ended.returncode == 0
    assert f"task {task}: completed" in ended.stdout
    assert agent.get(waiting)["status"] == "queued"


def test_stop_now_leaves_no_time(agent: Agent) -> None:
    _, task = _running(agent, DEAF)
    user = _user(agent)
    began = time.monotonic()
    ended = agent.run("daemon", "--stop", "--now")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert time.monotonic() - began < 20
    assert _gone(user)
    assert agent.get(task)["status"] == "stopped"
    assert f"task {task}: stopped" in ended.stdout


def test_drain_and_now_do_not_go_together_nor_alone(agent: Agent) -> None:
    assert agent.run("daemon", "--stop", "--drain", "--now").returncode == 2
    alone = agent.run("daemon", "--now")
    assert alone.returncode == 2
    assert "--now goes with --stop" in alone.stderr


def test_stop_needs_neither_server_nor_configuration(agent: Agent) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__WORKER_NAME": ""}
    daemon = agent.daemon()
    broken = agent.home / "broken.conf"
    broken.write_text("api { broken")
    agent.server.conf.rename(agent.home / "away.conf")
    environ = {name: value for name, value in agent.environ.items() if name != "CLEARML_CONFIG_FILE"}
    for flags in (("--config-file", str(broken)), ()):
        ended = subprocess.run(
            agent.command(*flags, "daemon", "--stop"), env=environ, capture_output=True, text=True, check=False
        )
        if flags:
            assert ended.returncode == 0, ended.stdout + ended.stderr
            assert "going on without the configuration file" in ended.stderr
        else:
            assert ended.returncode == 1
            assert "Could not find a running clearml-agent instance" in ended.stdout
    assert daemon.wait(5) == 0


def test_with_the_server_away_the_daemon_ends_and_the_runner_delivers_later(agent: Agent) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        agent.variables = {"CLEARML_API_HOST": proxy.url}
        daemon, task = _running(agent)
        user = _user(agent)
        proxy.down()
        ended = agent.run("daemon", "--stop")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert f"task {task}: still delivering its console and its status" in ended.stdout
        assert daemon.wait(5) == 0
        assert _gone(user)
        proxy.up()
        assert agent.final(task)["status"] == "stopped"


def test_a_suspended_daemon_is_named_and_ended_only_at_once(agent: Agent) -> None:
    daemon, task = _running(agent)
    user = _user(agent)
    daemon.send_signal(signal.SIGSTOP)
    asked = agent.run("daemon", "--stop")
    assert asked.returncode == 1
    assert f"pid={daemon.pid} is suspended (SIGSTOP)" in asked.stdout
    assert daemon.poll() is None
    ended = agent.run("daemon", "--stop", "--now")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "does not end by itself, it is killed" in ended.stdout
    assert f"task {task}: stopped" in ended.stdout
    assert daemon.wait(5) == -signal.SIGKILL
    assert _gone(user)
    assert agent.get(task)["status"] == "stopped"


@pytest.mark.parametrize(
    ("flags", "setting", "expected"),
    [((), "fail", "failed"), (("--now",), "stop", "stopped"), (("--drain",), "stop", "completed")],
)
def test_a_dead_daemons_tasks_are_found_and_ended_as_it_was_set_to(
    agent: Agent, flags: tuple[str, ...], setting: str, expected: str
) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__ON_SHUTDOWN": setting}
    daemon, task = _running(agent, SHORT if flags == ("--drain",) else SLEEPER)
    daemon.kill()
    daemon.wait()
    agent.variables = {}  # who stops it may have other settings
    ended = agent.run("daemon", "--stop", *flags)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"is not running: pid {daemon.pid} is gone, it left a stale record and 1 running tasks" in ended.stdout
    assert f"task {task}: {expected}" in ended.stdout
    assert agent.get(task)["status"] == expected


def test_a_runner_that_does_not_react_either_is_killed_with_its_task(agent: Agent) -> None:
    daemon, task = _running(agent, DEAF)
    user, runner = _user(agent), _runner(agent)
    daemon.kill()
    daemon.wait()
    os.kill(runner, signal.SIGSTOP)
    ended = agent.run("daemon", "--stop", "--now")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    until(lambda: _gone(user) and _gone(runner))
    assert f"task {task}: " in ended.stdout
    if agent.get(task)["status"] == "in_progress":
        agent.daemon()
        assert agent.final(task)["status"] == "failed"


def test_a_stale_record_is_said_to_be_one(agent: Agent) -> None:
    daemon = agent.daemon()
    daemon.kill()
    daemon.wait()
    asked = agent.run("daemon", "--stop")
    assert asked.returncode == 1
    assert f"is not running: pid {daemon.pid} is gone, it left a stale record" in asked.stdout
    again = agent.run("daemon", "--stop")
    assert "Could not find a running clearml-agent instance with worker_id=tester:0" in again.stdout


def test_several_agents_are_stopped_side_by_side(agent: Agent) -> None:
    for _ in range(3):
        agent.daemon()
    tasks = [agent.enqueue(agent.task(SLEEPER)) for _ in range(3)]
    for task in tasks:
        agent.shows(task, "up")
    ended = agent.run("daemon", "--stop", "tester:0", "tester:2", "tester:9")
    assert ended.returncode == 1
    assert "worker_id=tester:9" in ended.stdout
    assert [child.poll() for child in agent.daemons] == [0, None, 0]
    assert sorted(agent.get(task)["status"] for task in tasks) == ["in_progress", "stopped", "stopped"]
