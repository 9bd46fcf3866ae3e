"""``clearml-agent status``, ``/metrics`` and ``/healthz`` of real daemons."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clearml_agent_clone.worker.sight.snapshot import RED_AFTER
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.worker_tools import Agent, until

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(120)\n"


def status(agent: Agent, *arguments: str, code: int | None = 0) -> dict[str, Any]:
    done = agent.run("status", "--json", *arguments)
    assert code is None or done.returncode == code, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    assert seen["format"] == 1
    return seen


def only(agent: Agent, code: int | None = 0) -> dict[str, Any]:
    """The one agent that there is."""
    (found,) = status(agent, code=code)["agents"]
    seen: dict[str, Any] = found
    return seen


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    """Values by name and labels, as Prometheus' own parser reads them."""
    return {
        sample.name + "".join(f" {value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_status_follows_a_task_from_idle_to_idle(agent: Agent) -> None:
    child = agent.daemon("--queue", "default")
    seen = only(agent)
    assert (seen["worker_id"], seen["pid"], seen["state"]) == ("tester:0", child.pid, "idle")
    assert (seen["capacity"], seen["free_slots"], seen["tasks"], seen["queues"]) == (1, 1, [], ["default"])
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    seen = only(agent)
    assert (seen["state"], seen["free_slots"], seen["healthy"]) == ("working", 0, True)
    assert seen["server"]["address"] == agent.server.api_url
    assert seen["server"]["reachable"]
    assert {"claim", "heartbeat"} <= {loop["name"] for loop in seen["loops"]}
    assert all(loop["errors"] == 0 for loop in seen["loops"])
    (run,) = seen["tasks"]
    assert (run["task_id"], run["state"], run["queue"]) == (task, "running", "default")
    assert run["seconds"] < 60
    assert Path(f"/proc/{run['pid']}/cwd").readlink().is_relative_to(agent.state)
    assert run["console"]["written_bytes"] > 0
    assert agent.run("status").stdout.count(task) == 1
    agent.server.call("tasks.stop", task=task)
    agent.final(task)
    until(lambda: only(agent)["state"] == "idle")
    assert only(agent)["finished"] == {"stopped": 1}


def test_a_daemon_that_hangs_does_not_answer_and_one_that_was_killed_is_told(agent: Agent) -> None:
    child = agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    child.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    seen = only(agent, code=1)
    assert time.monotonic() - begin < 10
    assert (seen["answers"], seen["pid"]) == (False, child.pid)
    assert [run["task_id"] for run in seen["tasks"]] == [task]
    assert "does not answer" in agent.run("status").stdout
    child.send_signal(signal.SIGCONT)
    assert only(agent)["answers"]
    child.kill()
    child.wait()
    seen = only(agent, code=1)
    assert (seen["state"], seen["pid"]) == ("not running", None)
    assert [run["pid"] is not None for run in seen["tasks"]] == [True]
    assert any("unfinished" in problem for problem in seen["problems"])
    agent.daemon()
    assert only(agent)["state"] == "working"
    agent.server.call("tasks.stop", task=task)
    agent.final(task)


def test_a_draining_agent_and_one_that_left(agent: Agent, tmp_path: Path) -> None:
    child, go = agent.daemon(), tmp_path / "go"
    code = f"import os, time\nprint('up', flush=True)\nwhile not os.path.exists({str(go)!r}):\n    time.sleep(0.05)\n"
    task = agent.enqueue(agent.task(code))
    agent.shows(task, "up")
    child.send_signal(signal.SIGTERM)
    until(lambda: only(agent)["state"] == "draining")
    assert only(agent)["free_slots"] == 0
    go.touch()
    child.wait(60)
    assert status(agent, code=1)["agents"] == []
    assert "No agent is running here" in agent.run("status").stdout


def test_metrics_and_health(agent: Agent) -> None:
    port = free_port()
    agent.daemon("--metrics-port", str(port), "--services-mode", "3")
    assert json.loads(get(port, "/healthz")[1]) == {
        "healthy": True,
        "worker": "tester:cpu:0",
        "state": "idle",
        "problems": [],
    }
    task = agent.enqueue(agent.task())
    agent.final(task)
    until(lambda: samples(get(port, "/metrics")[1]).get("clearml_agent_tasks_finished_total completed") == 1)
    seen = samples(get(port, "/metrics")[1])
    assert seen["clearml_agent_slots"] == 3
    assert seen["clearml_agent_slots_free"] == 3
    assert 0 < seen["clearml_agent_task_start_seconds"] < 60
    assert seen["clearml_agent_api_requests_total queues.get_next_task ok"] >= 1
    assert seen["clearml_agent_loop_healthy claim"] == 1
    assert seen["clearml_agent_console_lost_bytes_total"] == 0
    assert seen["process_resident_memory_bytes"] > 10e6
    assert get(port, "/")[0] == 404
    refused = agent.run("daemon", "--foreground", "--metrics-port", f"127.0.0.1:{port}")
    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if "ERROR" in line]
    assert f"metrics port 127.0.0.1:{port} cannot be opened: Address already in use" in line
    assert "Traceback" not in refused.stderr


def test_what_a_detached_daemon_writes_is_private_and_its_log_may_be_json(agent: Agent) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__LOG_FORMAT": "json"}
    done = subprocess.run(
        agent.command("daemon", "--detached"),
        env=agent.environ,
        cwd=agent.home,
        capture_output=True,
        text=True,
        umask=0,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    pid = only(agent)["pid"]
    try:
        lines = (agent.state / "logs" / "daemon-tester_0.log").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert any("listens to" in record["message"] for record in records)
        assert {record["worker"] for record in records} == {"tester:0"}
        assert (agent.state / "logs" / "daemon-tester_0.out").exists()
        assert Path(f"/proc/{pid}/fd/2").readlink().name == "daemon-tester_0.out"
        modes = {stat.S_IMODE(path.stat().st_mode) for path in (agent.state / "logs").iterdir()}
        assert modes == {0o600}
    finally:
        assert agent.run("daemon", "--stop").returncode == 0
    assert status(agent, code=1)["agents"] == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_server_that_is_away_turns_health_red_and_back(agent: Agent) -> None:
    port = free_port()
    with FaultProxy(agent.server.api_url) as proxy:
        agent.variables = {"CLEARML_API_HOST": proxy.url}
        agent.daemon("--metrics-port", str(port))
        until(lambda: get(port, "/healthz")[0] == 200)
        proxy.down()
        down_at = time.monotonic()
        until(lambda: not only(agent, code=None)["server"]["reachable"])
        seen = only(agent, code=None)
        assert proxy.url in seen["server"]["last_error"]
        assert get(port, "/healthz")[0] == 200  # it may be a restart
        until(lambda: get(port, "/healthz")[0] == 503, patience=240)
        assert time.monotonic() - down_at > RED_AFTER - 5
        problems = json.loads(get(port, "/healthz")[1])["problems"]
        assert {"claim"} <= {problem["loop"] for problem in problems} <= {"claim", "heartbeat"}
        assert any("the server does not answer" in problem for problem in only(agent, code=1)["problems"])
        proxy.up()
        until(lambda: get(port, "/healthz")[0] == 200)
        until(lambda: only(agent, code=None)["healthy"])
    log = agent.log()
    assert "works again after" in log
    assert log.count("refused the connection") < 20, log  # folded
