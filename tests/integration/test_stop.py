"""How a running task is ended, by whom ever, and what is left of it."""

from __future__ import annotations

import re
import signal
import socket
import time

import pytest

from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.runner.journal import State
from tests.helpers.fault_proxy import Fault, FaultProxy
from tests.helpers.runner_tools import DEAF, SLEEPER, UP, Runs, setting, through
from tests.helpers.worker_tools import Agent, until

STAMPS_SIGNAL = (
    "import signal, sys, time\n"
    "def save(*_):\n"
    "    print('signal', time.time(), flush=True)\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, save)\n"
    f"{UP}"
    "time.sleep(300)\n"
)

pytestmark = pytest.mark.slow  # all together; one by one they take seconds
LONG_GRACE = setting("abort_grace_sec", "1000")


# what somebody else does to a running task


@pytest.mark.parametrize(
    ("endpoint", "status", "reason"),
    [
        ("tasks.stop", "stopped", "task was stopped by tasks.stop"),
        ("tasks.stopped", "stopped", "by hand"),
        ("tasks.failed", "failed", "by hand"),
        ("tasks.dequeue", "created", "by hand"),
        ("tasks.reset", "created", "reset"),
        ("tasks.close", "closed", "by hand"),
        ("tasks.publish", "published", "by hand"),
        ("tasks.delete", None, None),
    ],
)
def test_what_somebody_does_to_a_running_task_ends_it_and_stands(
    agent: Agent, runs: Runs, endpoint: str, status: str | None, reason: str | None
) -> None:
    run = runs.start(agent.task(SLEEPER))
    run.says("\nup\n")
    agent.server.call(endpoint, task=run.task, force=True, status_reason="by hand")
    if status is None:
        assert run.child.wait(60) == 0, run.log
        assert run.state is State.DONE
        assert run.members == []
        assert agent.server.failure("tasks.get_by_id", task=run.task) == (400, 101)
        return
    seen = run.ends()
    assert (seen["status"], seen["status_reason"]) == (status, reason)


def test_a_task_that_is_enqueued_again_while_it_runs_ends_and_waits(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(SLEEPER))
    run.says("\nup\n")
    agent.server.call("tasks.stopped", task=run.task)
    agent.enqueue(run.task)
    assert run.ends()["status"] == "queued"
    entries = agent.server.call("queues.get_by_id", queue=agent.queue())["queue"]["entries"]
    assert [entry["task"] for entry in entries] == [run.task]


def test_a_task_that_another_worker_runs_between_two_looks_is_left_to_it(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(SLEEPER))
    agent.shows(run.task, "\nup\n")
    call, user = agent.server.call, run.user
    call("tasks.reset", task=run.task)
    agent.enqueue(run.task)
    runs.pop(run.task)
    call("tasks.started", task=run.task)
    call("workers.status_report", worker="another", task=run.task, timestamp=int(time.time() * 1000))
    begin = time.monotonic()
    until(lambda: not user.alive)
    assert time.monotonic() - begin < 5
    seen = run.ends()
    assert (seen["status"], seen["last_worker"]) == ("in_progress", "another")


# an abort


def test_the_signal_comes_within_two_seconds(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(STAMPS_SIGNAL))
    run.says("\nup\n")
    agent.shows(run.task, "\nup\n")
    begin = time.time()
    agent.server.call("tasks.stop", task=run.task)
    assert run.ends()["status"] == "stopped"
    stamp = re.search(r"^signal ([\d.]+)$", agent.console(run.task), re.MULTILINE)
    assert stamp is not None
    assert float(stamp[1]) - begin < 2.0


def test_an_abort_during_preparation_ends_the_helpers_within_two_seconds(agent: Agent, runs: Runs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        never_answers.settimeout(60)
        wheel = f"slow @ http://127.0.0.1:{never_answers.getsockname()[1]}/slow-1.0-py3-none-any.whl"
        run = runs.start(agent.task(requirements={"pip": wheel}))
        connection, _ = never_answers.accept()
        helpers = [process for pid in run.members if (process := ProcessId.of(pid)) is not None]
        assert helpers, "uv carries the run's mark"
        begin = time.monotonic()
        agent.server.call("tasks.stop", task=run.task)
        until(lambda: not any(helper.alive for helper in helpers))
        took = time.monotonic() - begin
        seen = run.ends()
        connection.close()
    assert took < 2.5  # it may take a moment to die
    assert (seen["status"], seen["status_reason"]) == ("stopped", "task was stopped by tasks.stop")


def test_a_task_may_choose_its_grace_and_its_signal(agent: Agent, runs: Runs) -> None:
    deaf = agent.task(DEAF)
    hears_usr1 = agent.task(STAMPS_SIGNAL.replace("SIGTERM", "SIGUSR1"))
    for task, name, value in ((deaf, "abort_grace_sec", "0.3"), (hears_usr1, "abort_signal", "SIGUSR1")):
        prop = {"section": "properties", "name": name, "value": value}
        agent.server.call("tasks.edit_hyper_params", task=task, hyperparams=[prop], force=True)
    for task in (deaf, hears_usr1):
        run = runs.start(task, LONG_GRACE)
        run.says("\nup\n")
        agent.server.call("tasks.stop", task=task)
        assert run.ends()["status"] == "stopped"
    assert "signal " in agent.console(hears_usr1)


def test_a_property_that_cannot_be_used_is_said(agent: Agent, runs: Runs) -> None:
    task = agent.task()
    prop = {"section": "properties", "name": "max_task_seconds", "value": "an hour"}
    agent.server.call("tasks.edit_hyper_params", task=task, hyperparams=[prop], force=True)
    assert runs.start(task).ends()["status"] == "completed"
    assert 'user property max_task_seconds "an hour" is not a number of seconds' in agent.console(task)


# the time limit


@pytest.mark.parametrize(("ours", "theirs", "limit"), [("1", "", "1"), ("1000", "1.5", "1.5"), ("1", "1000", "1")])
def test_a_time_limit_ends_the_task_and_the_lower_one_counts(
    agent: Agent, runs: Runs, ours: str, theirs: str, limit: str
) -> None:
    task = agent.task(SLEEPER)
    if theirs:
        prop = {"section": "properties", "name": "max_task_seconds", "value": theirs}
        agent.server.call("tasks.edit_hyper_params", task=task, hyperparams=[prop], force=True)
    seen = runs.start(task, setting("max_task_seconds", ours)).ends()
    assert (seen["status"], seen["status_reason"]) == ("failed", f"time limit of {limit} s reached")
    console = agent.console(task)
    assert f"Time limit of {limit} s reached: stopping task" in console
    assert console.rstrip().endswith(f"Process failed, time limit of {limit} s reached")


# the agent is stopped


@pytest.mark.parametrize(
    ("choice", "status", "reason"),
    [
        ("stop", "stopped", "user abort: the agent was stopped"),
        ("fail", "failed", "the agent was stopped"),
        ("requeue", "queued", "the agent was stopped"),
    ],
)
def test_a_stopped_agent_does_with_its_task_what_is_set(
    agent: Agent, runs: Runs, choice: str, status: str, reason: str
) -> None:
    run = runs.start(agent.task(SLEEPER), setting("on_shutdown", choice))
    run.says("\nup\n")
    other = agent.enqueue(agent.task())
    run.signal(signal.SIGTERM)
    seen = run.ends()
    assert (seen["status"], seen["status_reason"]) == (status, reason)
    entries = agent.server.call("queues.get_by_id", queue=agent.queue())["queue"]["entries"]
    waiting = [entry["task"] for entry in entries]
    assert waiting == ([run.task, other] if choice == "requeue" else [other])


def test_sigquit_leaves_no_grace(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(DEAF), LONG_GRACE)
    run.says("\nup\n")
    run.signal(signal.SIGQUIT)
    assert run.ends(patience=30)["status"] == "stopped"


def test_sigquit_ends_the_grace_that_is_under_way(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(DEAF), LONG_GRACE)
    run.says("\nup\n")
    run.signal(signal.SIGTERM)
    with pytest.raises(AssertionError):
        run.ends(patience=1)
    run.signal(signal.SIGQUIT)
    assert run.ends(patience=30)["status"] == "stopped"


def test_a_second_interrupt_has_no_patience(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(DEAF), LONG_GRACE)
    run.says("\nup\n")
    run.signal(signal.SIGINT)
    time.sleep(0.3)  # two signals at the same moment are one
    run.signal(signal.SIGINT)
    seen = run.ends(patience=30)
    assert (seen["status"], seen["status_reason"]) == ("stopped", "user abort")


def test_what_a_stopped_agent_could_not_tell_is_told_by_the_next(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        run = runs.start(agent.task(SLEEPER), through(proxy))
        agent.shows(run.task, "\nup\n")
        proxy.down()
        run.signal(signal.SIGQUIT)
        assert run.child.wait(40) == 1, run.log
        assert run.members == []
        assert run.state is State.FINISHING
        assert agent.get(run.task)["status"] == "in_progress"
        proxy.up()
        run.succeed()
        seen = run.ends()
    assert (seen["status"], seen["status_reason"]) == ("stopped", "user abort: the agent was stopped")
    console = agent.console(run.task)
    assert console.count("Process terminated by user") == 1
    assert console.count("up\n") == 1


# a task that must not be started


@pytest.mark.parametrize(
    ("endpoint", "body", "status"),
    [
        ("tasks.stopped", {}, "stopped"),
        ("tasks.completed", {"force": True}, "completed"),
        ("tasks.publish", {"force": True}, "published"),
        ("tasks.started", {}, "in_progress"),
        ("tasks.failed", {"force": True}, "failed"),
        ("tasks.dequeue", {}, "created"),
        ("tasks.delete", {"force": True}, None),
    ],
)
def test_a_task_that_must_not_be_run_is_left_alone(
    agent: Agent, runs: Runs, endpoint: str, body: dict[str, object], status: str | None
) -> None:
    task = agent.enqueue(agent.task("open('was-run', 'w')\n"))
    runs.pop(task)
    agent.server.call(endpoint, task=task, status_reason="by hand", **body)
    run = runs.start(task, pop=False)
    assert run.child.wait(60) == 0, run.log
    assert run.state is State.DONE
    assert "it is not run" in run.log
    assert run.place.user() is None
    if status is not None:
        seen = agent.get(task)
        assert (seen["status"], seen["status_reason"]) == (status, "by hand")
        assert agent.console(task) == ""


@pytest.mark.parametrize(("choice", "status"), [("requeue", "queued"), ("fail", "failed")])
def test_a_task_that_the_server_will_not_start_goes_back_or_fails(
    agent: Agent, runs: Runs, choice: str, status: str
) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("tasks.started", Fault.refusal(400, 999, "not today"), times=None)
        run = runs.start(agent.task(), {**through(proxy), **setting("on_start_failure", choice)})
        seen = run.ends()
    assert seen["status"] == status
    assert run.place.user() is None
    entries = agent.server.call("queues.get_by_id", queue=agent.queue())["queue"]["entries"]
    assert [entry["task"] for entry in entries] == ([run.task] if choice == "requeue" else [])
    if choice == "fail":
        assert "start refused: " in seen["status_reason"]
        assert "not today" in seen["status_reason"]


def test_a_task_that_somebody_stops_just_before_it_is_started_is_left_alone(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        task = agent.task()

        def abort(_: object) -> None:
            agent.server.call("tasks.completed", task=task, force=True)
            agent.server.call("tasks.publish", task=task)

        proxy.on("tasks.started", Fault.run(abort, "before", cut=False))
        run = runs.start(task, through(proxy))
        assert run.ends()["status"] == "published"
    assert run.place.user() is None


def test_a_task_waits_for_a_server_that_is_away_when_it_is_taken(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.down()
        run = runs.start(agent.task(), through(proxy))
        until((run.folder.path / "keeper.json").exists)
        proxy.up()
        assert run.ends()["status"] == "completed"


def test_a_task_that_was_never_begun_goes_back_when_the_agent_is_stopped(agent: Agent, runs: Runs) -> None:
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("tasks.get_by_id", Fault.status(503), times=None)
        run = runs.start(agent.task(), through(proxy))
        proxy.wait_for("tasks.get_by_id")
        run.signal(signal.SIGTERM)
        assert run.ends()["status"] == "queued"
    entries = agent.server.call("queues.get_by_id", queue=agent.queue())["queue"]["entries"]
    assert [entry["task"] for entry in entries] == [run.task]


def test_a_folder_has_one_runner(agent: Agent, runs: Runs) -> None:
    run = runs.start(agent.task(SLEEPER))
    run.says("\nup\n")
    first = run.child
    run.succeed()
    assert run.child.wait(60) == 0
    assert "has a runner already" in run.log
    run.child = first
    assert run.user.alive
    run.signal(signal.SIGTERM)
    assert run.ends()["status"] == "stopped"
