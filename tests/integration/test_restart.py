"""Daemons and runners that are killed, and what the next daemon, also a newer one, makes of what they left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.worker_tools import Agent, until

pytestmark = pytest.mark.slow  # all together; one by one they take seconds

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)\n"
TICKER = "import time\nfor i in range({n}):\n    print('tick', i, flush=True)\n    time.sleep(0.1)\n"
ADOPT, END = "adopt", "end"


def _kill(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()


def _runs(agent: Agent) -> list[Path]:
    return sorted(path for path in (agent.state / "runs").iterdir() if not path.name.startswith("."))


def _pid(folder: Path, name: str = "runner") -> int:
    return int(json.loads((folder / f"{name}.json").read_text())["pid"])


def _ticks(agent: Agent, task: str) -> list[int]:
    return [int(number) for number in re.findall(r"^tick (\d+)$", agent.console(task), re.MULTILINE)]


def _nursery(daemon: int) -> int:
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "clearml-nursery")


def _change(file: Path, change: dict[str, Any], remove: tuple[str, ...] = ()) -> None:
    record = {**json.loads(file.read_text()), **change}
    file.write_text(json.dumps({name: value for name, value in record.items() if name not in remove}))


def test_daemon_and_nursery_are_killed_and_the_task_does_not_notice(agent: Agent) -> None:
    daemon = agent.daemon()
    task = agent.enqueue(agent.task(TICKER.format(n=60)))
    agent.shows(task, "tick 3\n")
    os.kill(_nursery(daemon.pid), signal.SIGKILL)
    _kill(daemon)
    agent.daemon()
    until(lambda: "adopted task" in agent.log(1))
    waiting = agent.enqueue(agent.task())
    assert agent.final(task)["status"] == "completed"
    assert _ticks(agent, task) == list(range(60))
    assert agent.final(waiting)["started"] > agent.get(task)["completed"], "the slot was taken"


@pytest.mark.parametrize("age", ["older", "newer"])
def test_what_another_version_has_written_is_read(agent: Agent, age: str) -> None:
    """A record without the fields that came later, and one with fields that this version does not know."""
    daemon = agent.daemon()
    task = agent.enqueue(agent.task(TICKER.format(n=50)))
    agent.shows(task, "tick 3\n")
    _kill(daemon)
    run, worker = _runs(agent)[0], agent.state / "workers" / "tester_0"
    assert json.loads((run / "job.json").read_text())["format"] == 1
    assert json.loads((run / "state.json").read_text())["format"] == 1
    assert json.loads((worker / "worker.json").read_text())["format"] == 1
    if age == "older":
        _change(run / "job.json", {}, ("format", "claim_id", "boot", "may_start_from"))
        _change(run / "state.json", {}, ("format", "times"))
        _change(worker / "worker.json", {}, ("format", "version", "slot", "queues"))
        _change(worker / "claim.json", {}, ("format",))
    else:
        more = {"format": 9, "invented": {"later": [1]}}
        for file in (run / "job.json", run / "state.json", worker / "worker.json", worker / "claim.json"):
            _change(file, more)
    agent.daemon()
    until(lambda: "adopted task" in agent.log(1))
    assert agent.final(task)["status"] == "completed"
    assert _ticks(agent, task) == list(range(50))
    assert agent.final(agent.enqueue(agent.task()))["status"] == "completed"


def test_a_state_that_a_newer_version_has_made_up_never_runs_a_task_again(agent: Agent) -> None:
    daemon = agent.daemon()
    task = agent.enqueue(agent.task("print('once', flush=True)\n" + SLEEPER))
    agent.shows(task, "up")
    _kill(daemon)
    run = _runs(agent)[0]
    os.kill(_pid(run), signal.SIGKILL)
    _change(run / "state.json", {"state": "hovering", "format": 9})
    agent.variables = {"CLEARML_AGENT__AGENT__ON_RUNNER_LOSS": END}
    agent.daemon()
    assert agent.final(task)["status"] == "failed"
    assert agent.console(task).count("once\n") == 1


def test_services_keep_their_limit_over_a_restart(agent: Agent) -> None:
    flags = ("--services-mode", "2", "--queue", "services", "--create-queue")
    daemon = agent.daemon(*flags)
    tasks = [agent.enqueue(agent.task(SLEEPER), "services") for _ in range(3)]
    for task in tasks[:2]:
        agent.shows(task, "up")
    _kill(daemon)
    agent.daemon(*flags)
    until(lambda: agent.log(1).count("adopted task") == 2)
    other = agent.enqueue(agent.task(), "default")  # nothing to do with it; time goes by
    agent.daemon("--queue", "default")
    agent.final(other)
    assert agent.get(tasks[2])["status"] == "queued"
    agent.server.call("tasks.stop", task=tasks[0])
    agent.shows(tasks[2], "up")


def test_runner_and_daemon_are_killed_and_the_process_is_adopted(agent: Agent) -> None:
    daemon = agent.daemon()
    task = agent.enqueue(agent.task(TICKER.format(n=80)))
    agent.shows(task, "tick 3\n")
    _kill(daemon)
    os.kill(_pid(_runs(agent)[0]), signal.SIGKILL)
    agent.daemon()
    assert agent.final(task)["status"] == "completed"
    assert _ticks(agent, task) == list(range(80))


def test_a_runner_whose_start_the_daemon_did_not_live_to_see_is_not_started_twice(agent: Agent) -> None:
    """As after a kill between the fork and the runner's first word: the folder is held, and nobody knows by whom."""
    daemon = agent.daemon()
    task = agent.enqueue(agent.task("print('once', flush=True)\n" + TICKER.format(n=200)))
    agent.shows(task, "tick 3\n")
    _kill(daemon)
    run = _runs(agent)[0]
    record = (run / "runner.json").read_text()
    (run / "runner.json").unlink()
    agent.daemon()
    until(lambda: "has a runner already" in (run / "runner.log").read_text())
    (run / "runner.json").write_text(record)
    assert agent.final(task)["status"] == "completed"
    assert agent.console(task).count("once\n") == 1
    assert _ticks(agent, task) == list(range(200))
    until(lambda: _runs(agent) == [])


def test_another_agent_of_the_machine_adopts_nothing_that_lives(agent: Agent) -> None:
    daemon = agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    _kill(daemon)
    other = agent.daemon("--gpus", "0")
    assert agent.final(agent.enqueue(agent.task()))["status"] == "completed", "its slot is free"
    assert "adopted" not in agent.log(1)
    assert agent.get(task)["status"] == "in_progress"
    other.send_signal(signal.SIGINT)
    other.wait(30)
    agent.daemon()
    until(lambda: "adopted task" in agent.log(2))


def test_another_agent_ends_what_nobody_else_will(agent: Agent) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__ON_RUNNER_LOSS": END}
    daemon = agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    _kill(daemon)
    run = _runs(agent)[0]
    os.kill(_pid(run), signal.SIGKILL)
    user = _pid(run, "user")
    old = (run / "job.json").stat().st_mtime - 3600
    os.utime(run / "job.json", (old, old))
    agent.daemon("--gpus", "0")
    seen = agent.final(task)
    assert (seen["status"], "runner lost" in seen["status_reason"]) == ("failed", True)
    assert not Path(f"/proc/{user}").exists()
    until(lambda: _runs(agent) == [])


@pytest.mark.parametrize("restart", [False, True])
def test_a_status_that_the_server_is_not_there_for_is_set_when_it_is_back(agent: Agent, restart: bool) -> None:
    """Two runners have died, so it is the daemon's duty; the server is away, and the daemon may be restarted too."""
    with FaultProxy(agent.server.api_url) as proxy:
        conf = agent.home / "clearml.conf"
        good = Path(str(agent.server.conf)).read_text()
        conf.write_text(good)
        agent.variables = {"CLEARML_CONFIG_FILE": str(conf), "CLEARML_API_HOST": proxy.url}
        daemon = agent.daemon()
        task = agent.enqueue(agent.task(SLEEPER))
        agent.shows(task, "up")
        proxy.down()
        conf.write_text("api { broken")  # no runner survives that
        run = _runs(agent)[0]
        os.kill(_pid(run), signal.SIGKILL)
        until((run / "duty.json").exists)
        assert not Path(f"/proc/{_pid(run, 'user')}").exists()
        if restart:
            _kill(daemon)
            conf.write_text(good)
            proxy.up()
            agent.daemon()
        else:
            proxy.up()
        seen = agent.final(task)
        assert seen["status"] == "failed"
        assert seen["status_reason"].startswith("runner lost: ")
        assert "is never closed" in seen["status_reason"]
        until(lambda: _runs(agent) == [])
        conf.write_text(good)
        assert agent.final(agent.enqueue(agent.task()))["status"] == "completed"


def test_a_task_that_was_stopped_with_its_agent_does_not_come_again(agent: Agent) -> None:
    """The claim that brought it is settled, although no other was made after it."""
    daemon = agent.daemon("--queue", "default", "--create-queue")
    task = agent.enqueue(agent.task("import time\nprint('up', flush=True)\ntime.sleep(120)\n"))
    agent.shows(task, "up")
    daemon.send_signal(signal.SIGINT)
    daemon.wait(60)
    assert agent.final(task)["status"] == "stopped"
    agent.daemon("--queue", "default")
    following = agent.enqueue(agent.task("print('next')\n"))
    assert agent.final(following)["status"] == "completed"
    assert task not in agent.log(1)
    assert agent.get(task)["status"] == "stopped"
