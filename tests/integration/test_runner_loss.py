"""A runner is killed. Whoever comes after it finds the task's process, or how it ended, and says so."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest

from clearml_agent_clone.launch import local
from clearml_agent_clone.launch.processes import ProcessId, wait_exit
from clearml_agent_clone.runner.journal import State
from clearml_agent_clone.util.files import read_json
from tests.helpers.fault_proxy import Fault, FaultProxy
from tests.helpers.runner_tools import SLEEPER, TICKS, Run, Runs, setting, through
from tests.helpers.worker_tools import Agent, until

pytestmark = pytest.mark.slow  # all together; one by one they take seconds

_KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


def keeper_of(run: Run) -> ProcessId:
    found = ProcessId.from_record(json.loads(run.place.keeper_file.read_text()))
    assert found is not None
    return found


def ticks(agent: Agent, task: str) -> list[int]:
    return [int(number) for number in re.findall(r"^tick (\d+)$", agent.console(task), re.MULTILINE)]


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("", "completed", "worker execution done"),
        ("raise SystemExit(3)\n", "failed", "worker execution exit code 3"),
        ("import os; os.kill(os.getpid(), 9)\n", "failed", "worker execution exit code -9 (ended by SIGKILL)"),
    ],
)
def test_a_process_is_adopted_for_the_rest_of_its_life(
    agent: Agent, runs: Runs, end: str, status: str, reason: str
) -> None:
    run = runs.start(agent.task(TICKS.replace("COUNT", "60") + end))
    agent.shows(run.task, "tick 3")
    user = run.user
    run.kill()
    time.sleep(0.3)  # it writes on while nobody reads
    run.succeed()
    agent.shows(run.task, "tick 30")
    assert user.alive
    seen = run.ends()
    assert (seen["status"], seen["status_reason"]) == (status, reason)
    assert ticks(agent, run.task) == list(range(60))
    assert "goes on and is watched by this one" in run.log


def test_it_is_adopted_again_and_again(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(TICKS.replace("COUNT", "80")))
    run.says("tick 1\n")
    for number in (10, 20, 30):
        run.kill()
        run.succeed()
        run.says(f"tick {number}\n")
    assert run.ends()["status"] == "completed"
    assert ticks(agent, run.task) == list(range(80))


@pytest.mark.parametrize("choice", ["adopt", "end"])
@pytest.mark.parametrize(("code", "status"), [("", "completed"), ("raise SystemExit(3)\n", "failed")])
def test_a_process_that_ended_meanwhile_ended_as_it_did(
    agent: Agent, runs: Runs, choice: str, code: str, status: str
) -> None:
    run = runs.start(agent.task(TICKS.replace("COUNT", "5") + code), setting("on_runner_loss", choice))
    user = run.user
    run.kill()
    until(lambda: not user.alive)
    run.succeed()
    seen = run.ends()
    assert seen["status"] == status
    assert ticks(agent, run.task) == list(range(5))


def test_a_lost_process_is_ended_when_that_is_set(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(SLEEPER), setting("on_runner_loss", "end"))
    run.says("\nup\n")
    run.kill()
    run.succeed()
    seen = run.ends()
    assert (seen["status"], seen["status_reason"]) == (
        "failed",
        "runner lost: the agent's runner died while the task was running",
    )
    assert agent.console(run.task).count("up\n") >= 1


def test_an_adopted_process_can_be_aborted(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(SLEEPER))
    run.says("\nup\n")
    run.kill()
    run.succeed()
    until(lambda: "is watched" in run.log)
    agent.server.call("tasks.stop", task=run.task)
    seen = run.ends()
    assert (seen["status"], seen["status_reason"]) == ("stopped", "task was stopped by tasks.stop")
    assert "User aborted: stopping task (1) stopped" in agent.console(run.task)


def test_what_was_done_to_the_task_while_it_had_no_runner_is_seen(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(SLEEPER))
    run.says("\nup\n")
    run.kill()
    agent.server.call("tasks.failed", task=run.task, status_reason="by hand")
    run.succeed()
    assert run.ends()["status_reason"] == "by hand"


def test_the_time_limit_counts_from_the_start_of_the_process(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(SLEEPER), setting("max_task_seconds", "4"))
    user = run.user
    run.says("\nup\n")
    run.kill()
    until(lambda: user.age > 3)
    run.succeed(setting("max_task_seconds", "1000"))  # what was decided when it started holds
    until(lambda: not user.alive)
    assert run.ends()["status_reason"] == "time limit of 4 s reached"


@pytest.mark.skipif(_KERNEL < (6, 15), reason="without the keeper only Linux 6.15 knows the exit code")
def test_when_runner_and_keeper_are_killed_the_kernel_is_asked(agent: Agent, runs: Runs) -> None:
    code = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.05)\nraise SystemExit(6)\n"
    run = runs.start(agent.task(code))
    user = run.user
    run.kill()
    run.succeed()
    until(lambda: "is watched" in run.log)
    os.kill(keeper_of(run).pid, signal.SIGKILL)
    cwd = Path(f"/proc/{user.pid}/cwd").resolve()
    (cwd / "go").touch()
    reason = run.ends()["status_reason"]
    # whoever is pid 1 here must also wait for its children
    assert reason == "worker execution exit code 6" or "nobody was left who could know" in reason


def test_a_killed_keeper_is_no_reason_to_end(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(TICKS.replace("COUNT", "30") + "raise SystemExit(6)\n"))
    run.says("tick 1\n")
    os.kill(keeper_of(run).pid, signal.SIGKILL)
    assert run.ends()["status_reason"] == "worker execution exit code 6"
    assert ticks(agent, run.task) == list(range(30))


# before and after the process


def test_helpers_of_a_killed_runner_are_ended(agent: Agent, runs: Runs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        never_answers.settimeout(60)
        wheel = f"slow @ http://127.0.0.1:{never_answers.getsockname()[1]}/slow-1.0-py3-none-any.whl"
        run = runs.start(agent.task(requirements={"pip": wheel}))
        connection, _ = never_answers.accept()
        run.kill()
        helpers = [process for pid in run.members if (process := ProcessId.of(pid)) is not None]
        assert helpers, "uv lives on"
        run.succeed()
        seen = run.ends()
        connection.close()
    assert not any(helper.alive for helper in helpers)
    assert "runner lost" in seen["status_reason"]
    assert seen["status"] == "failed"


def test_a_runner_killed_before_it_set_the_task_in_progress(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("tasks.started", Fault.BLACK_HOLE)
        run = runs.start(agent.task(), through(proxy))
        proxy.wait_for("tasks.started")
        run.kill()
        assert run.state is State.PREPARING
        assert agent.get(run.task)["status"] == "queued"
        proxy.clear()
        run.succeed()
        seen = run.ends()
    assert seen["status"] == "failed"
    assert "runner lost" in seen["status_reason"]
    assert run.place.user() is None


def test_a_runner_killed_before_it_looked_at_the_task_is_no_loss(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("tasks.get_by_id", Fault.BLACK_HOLE)
        run = runs.start(agent.task(), through(proxy))
        proxy.wait_for("tasks.get_by_id")
        run.kill()
        run.succeed()
        assert run.ends()["status"] == "completed"


def test_a_runner_killed_while_it_reports_reports_once(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("tasks.completed", Fault.LOSE_REPLY, times=None)
        run = runs.start(agent.task("print('only', 'once')\n"), through(proxy))
        proxy.wait_for("tasks.completed")
        run.kill()
        proxy.clear()
        run.succeed()
        assert run.ends()["status"] == "completed"
    console = agent.console(run.task)
    assert console.count("only once\n") == 1
    assert console.count("Process completed successfully") == 1


def test_a_task_is_put_back_once_when_the_runner_dies_over_it(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("queues.move_task_to_front", Fault.LOSE_REPLY, times=None)
        run = runs.start(agent.task(SLEEPER), {**through(proxy), **setting("on_shutdown", "requeue")})
        run.says("\nup\n")
        run.signal(signal.SIGTERM)
        proxy.wait_for("queues.move_task_to_front")
        run.kill()
        proxy.clear()
        run.succeed()
        assert run.ends()["status"] == "queued"
    entries = agent.server.call("queues.get_by_id", queue=agent.queue())["queue"]["entries"]
    assert [entry["task"] for entry in entries] == [run.task]


# the machine was restarted


def restart_machine(run: Run) -> None:
    """Kill all that runs, and let the records be of an earlier start."""
    until((run.folder.path / "keeper.json").exists)  # the keeper writes it, beside the runner
    run.kill()
    keeper, user = keeper_of(run), run.place.user()
    for process in (user, keeper):
        if process is not None and process.alive:
            os.kill(process.pid, signal.SIGKILL)
            wait_exit(process.pid, 30)
    local.clear(run.place)
    for name in ("user.json", "runner.json", "keeper.json", "job.json"):
        if read_json(run.folder.path / name) is not None:
            run.rewrite(name, boot="an earlier start")


@pytest.mark.parametrize(("choice", "status"), [("fail", "failed"), ("requeue", "queued")])
def test_a_task_whose_machine_was_restarted(agent: Agent, runs: Runs, choice: str, status: str) -> None:
    run = runs.start(agent.task(SLEEPER))
    run.says("\nup\n")
    restart_machine(run)
    run.succeed(setting("on_node_loss", choice))
    seen = run.ends()
    assert (seen["status"], seen["status_reason"]) == (
        status,
        "node lost: the machine was restarted while the task was running",
    )
    entries = agent.server.call("queues.get_by_id", queue=agent.queue())["queue"]["entries"]
    assert len(entries) == (choice == "requeue")


def test_a_machine_that_was_restarted_during_preparation(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("tasks.started", Fault.BLACK_HOLE)
        run = runs.start(agent.task(), through(proxy))
        proxy.wait_for("tasks.started")
        restart_machine(run)
        (run.folder.path / "runner.json").unlink()  # it was not forced to disk
        proxy.clear()
        run.succeed(setting("on_node_loss", "requeue"))
        assert run.ends()["status"] == "queued"


def test_a_task_that_was_only_claimed_before_the_restart_is_run(agent: Agent, runs: Runs) -> None:
    task = agent.enqueue(agent.task())
    run = runs.claimed(task, runs.pop(task))
    run.rewrite("job.json", boot="an earlier start")
    run.succeed()
    assert run.ends()["status"] == "completed"


def test_a_runner_lost_after_the_restart_is_no_lost_node(agent: Agent, runs: Runs) -> None:
    task = agent.enqueue(agent.task(SLEEPER))
    run = runs.claimed(task, runs.pop(task))
    run.rewrite("job.json", boot="an earlier start")
    run.succeed()
    run.says("\nup\n")
    run.kill()
    run.succeed()
    until(lambda: "is watched" in run.log)
    agent.server.call("tasks.stop", task=task)
    assert run.ends()["status"] == "stopped"


def test_a_runner_killed_between_its_outcome_and_its_last_line_loses_neither(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("workers.status_report", Fault.BLACK_HOLE, times=None)  # the last line comes after this call
        run = runs.start(agent.task("print('only', 'once')\n"), through(proxy))
        until(lambda: run.state is State.FINISHING)
        time.sleep(0.3)
        run.kill()
        assert not (run.folder.logs / "console.remarks").read_text().count("Process completed")
        proxy.clear()
        run.succeed()
        assert run.ends()["status"] == "completed"
    assert agent.console(run.task).count("Process completed successfully\n") == 1


@pytest.mark.parametrize("kept", [True, False])
def test_an_adopted_task_keeps_its_environment_and_the_last_runner_lets_go_of_it(
    agent: Agent, runs: Runs, tmp_path: Path, kept: bool
) -> None:
    """Without a store the environment is the task's own: nobody else would remove it."""
    variables = {} if kept else setting("venvs_cache__path", "") | setting("venvs_dir", str(tmp_path / "builds"))
    where = agent.home / ".clearml" / "venvs-cache" if kept else tmp_path / "builds"
    run = runs.start(agent.task(TICKS.replace("COUNT", "40")), variables)
    run.says("tick 1\n")
    (lease,) = where.glob("*/*/lease")
    run.kill()
    assert not _free(lease), "the keeper holds it"
    run.succeed()
    agent.shows(run.task, "tick 20")
    assert not _free(lease)
    assert run.ends()["status"] == "completed"
    assert lease.exists() is kept
    if kept:
        assert _free(lease)
        assert lease.read_text().startswith("clean")


def _free(lease: Path) -> bool:
    with lease.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
