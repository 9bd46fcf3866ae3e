"""The daemon over real HTTP: tasks from a queue to their last status."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from clearml_agent_clone.launch.plan import RUN_MARK
from tests.helpers.worker_tools import Agent, until

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(120)\n"
DEAF = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(120)\n"
SAVER = (
    "import signal, sys, time\n"
    "def save(*_):\n"
    "    print('checkpoint saved', flush=True)\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, save)\n"
    "print('up', flush=True)\n"
    "time.sleep(120)\n"
)


def left_of(agent: Agent) -> list[str]:
    """Command lines of processes that carry the mark of a run of this agent."""
    marked = []
    for process in psutil.process_iter():
        try:
            environ = process.environ()
        except (psutil.Error, OSError):
            continue
        if RUN_MARK in environ and environ.get("HOME") == str(agent.home):
            marked.append(" ".join(process.cmdline()))
    return marked


def test_a_task_runs_from_queue_to_completed(agent: Agent) -> None:
    agent.daemon()
    code = (
        "import os, sys\nprint('args', sys.argv[1:], os.environ['CLEARML_TASK_ID'])\nprint('oops', file=sys.stderr)\n"
    )
    task = agent.enqueue(agent.task(code, entry_point="script.py --lr 0.1 https://h//x"))
    seen = agent.final(task)
    assert (seen["status"], seen["status_reason"]) == ("completed", "worker execution done")
    assert seen["status_message"] == "Changed by clearml-agent tester:0"
    assert seen["last_worker"] == "tester:0"
    assert seen["runtime"]["_exec_agent_hostname"] == os.uname().nodename
    console = agent.console(task)
    assert f"args ['--lr', '0.1', 'https://h//x'] {task}\n" in console
    assert "oops\n" in console
    assert re.search(r"Timing: queue \d+\.\d\d s, source .* environment .* start .* in all", console)
    assert console.rstrip().endswith("Process completed successfully")


def test_the_console_tells_things_in_order_and_folds_progress_bars(agent: Agent) -> None:
    agent.daemon()
    code = (
        "import sys\n"
        "for i in range(5000): print('line', i)\n"
        "for i in range(101): print(f'\\r{i}%', end='')\n"
        "print()\nprint('end')\n"
    )
    task = agent.enqueue(agent.task(code))
    agent.final(task)
    console = agent.console(task)
    numbers = [int(number) for number in re.findall(r"^line (\d+)$", console, re.MULTILINE)]
    assert numbers == list(range(5000))
    assert "100%\nend\n" in console
    assert "50%" not in console


def test_a_failing_task_fails_with_its_exit_code(agent: Agent) -> None:
    agent.daemon()
    task = agent.enqueue(agent.task("raise SystemExit(3)\n"))
    assert agent.final(task)["status_reason"] == "worker execution exit code 3"
    task = agent.enqueue(agent.task("import os; os.kill(os.getpid(), 9)\n"))
    seen = agent.final(task)
    assert (seen["status"], seen["status_reason"]) == ("failed", "worker execution exit code -9 (ended by SIGKILL)")


def test_queues_are_served_by_urgency(agent: Agent) -> None:
    low = [agent.enqueue(agent.task(), "low") for _ in range(2)]
    high = [agent.enqueue(agent.task(), "high") for _ in range(2)]
    agent.daemon("--queue", "high", "low")
    order = sorted((agent.final(task)["started"], task) for task in [*low, *high])
    assert [task for _, task in order] == [*high, *low]


@pytest.mark.parametrize(("code", "said"), [(SLEEPER, "up"), (SAVER, "checkpoint saved")])
def test_an_abort_ends_the_task_and_leaves_it_time_to_save(agent: Agent, code: str, said: str) -> None:
    agent.daemon()
    task = agent.enqueue(agent.task(code))
    agent.shows(task, "up")
    agent.server.call("tasks.stop", task=task)
    seen = agent.final(task)
    assert (seen["status"], seen["status_reason"]) == ("stopped", "task was stopped by tasks.stop")
    console = agent.console(task)
    assert said in console
    assert "User aborted: stopping task (1) stopped" in console
    assert console.rstrip().endswith("Process aborted by user")
    assert left_of(agent) == []


def test_a_task_that_is_deaf_to_signals_is_killed(agent: Agent) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__ABORT_GRACE_SEC": "0.5"}
    agent.daemon()
    task = agent.enqueue(agent.task(DEAF))
    agent.shows(task, "up")
    agent.server.call("tasks.stop", task=task)
    assert agent.final(task)["status"] == "stopped"
    assert left_of(agent) == []


def test_a_task_that_is_deleted_or_set_failed_outside_ends(agent: Agent) -> None:
    agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    agent.server.call("tasks.failed", task=task, status_reason="by hand")
    until(lambda: left_of(agent) == [])
    assert agent.get(task)["status_reason"] == "by hand"
    second = agent.enqueue(agent.task(SLEEPER))
    agent.shows(second, "up")
    agent.server.call("tasks.delete", task=second, force=True)
    until(lambda: left_of(agent) == [])
    third = agent.enqueue(agent.task())
    assert agent.final(third)["status"] == "completed"


def test_a_task_that_was_published_while_it_waited_is_not_run(agent: Agent) -> None:
    task = agent.enqueue(agent.task())
    agent.server.call("tasks.publish", task=task, force=True)
    agent.daemon()
    after = agent.enqueue(agent.task())
    assert agent.final(after)["status"] == "completed"
    assert agent.get(task)["status"] == "published"
    assert agent.console(task) == ""


def test_a_killed_daemon_costs_no_task(agent: Agent) -> None:
    daemon = agent.daemon()
    task = agent.enqueue(
        agent.task("import time\nfor i in range(40):\n    print('tick', i, flush=True)\n    time.sleep(0.1)\n")
    )
    agent.shows(task, "tick 0")
    daemon.kill()
    daemon.wait()
    agent.daemon()
    until(lambda: "adopted task" in agent.log(1))
    waiting = agent.enqueue(agent.task())
    assert agent.get(waiting)["status"] == "queued", "the slot is still taken"
    seen = agent.final(task)
    assert seen["status"] == "completed"
    ticks = [int(number) for number in re.findall(r"^tick (\d+)$", agent.console(task), re.MULTILINE)]
    assert ticks == list(range(40))
    assert agent.final(waiting)["status"] == "completed"


def test_a_killed_runner_is_reported_and_leaves_nothing_running(agent: Agent) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__ON_RUNNER_LOSS": "end"}
    agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    runner = next((agent.state / "runs").glob("*/runner.json"))
    pid = int(re.search(r'"pid":(\d+)', runner.read_text())[1])  # type: ignore[index] # the record has a pid
    os.kill(pid, signal.SIGKILL)
    seen = agent.final(task)
    assert seen["status"] == "failed"
    assert "runner lost" in seen["status_reason"]
    assert left_of(agent) == []
    assert agent.final(agent.enqueue(agent.task()))["status"] == "completed"


def test_sigterm_drains_and_a_second_one_stops(agent: Agent) -> None:
    daemon = agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    waiting = agent.enqueue(agent.task())
    daemon.terminate()
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.wait(1)
    assert agent.get(task)["status"] == "in_progress"
    daemon.terminate()
    assert daemon.wait(30) == 0
    seen = agent.get(task)
    assert (seen["status"], seen["status_reason"]) == ("stopped", "user abort: the agent was stopped")
    assert agent.get(waiting)["status"] == "queued"
    assert left_of(agent) == []


def test_the_worker_is_seen_while_it_lives(agent: Agent) -> None:
    daemon = agent.daemon("--queue", "default")
    workers = agent.server.call("workers.get_all")["workers"]
    assert [(worker["id"], worker["queues"][0]["name"]) for worker in workers] == [("tester:0", "default")]
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(30) == 0
    assert agent.server.call("workers.get_all")["workers"] == []


def test_detached_comes_back_when_it_works_and_stop_ends_it(agent: Agent) -> None:
    begun = agent.run("daemon", "--detached", "--queue", "default")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    assert 'Worker "tester:0" - Listening to queues: default' in begun.stdout
    task = agent.enqueue(agent.task())
    assert agent.final(task)["status"] == "completed"
    other = agent.run("daemon", "--stop", "tester:7")
    assert other.returncode == 1
    assert 'Did you mean "tester:0"?' in other.stdout
    ended = agent.run("daemon", "--stop")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "worker_id=tester:0 has ended" in ended.stdout
    assert agent.server.call("workers.get_all")["workers"] == []


def test_detached_says_why_it_did_not_start(agent: Agent) -> None:
    begun = agent.run("daemon", "--detached", "--queue", "defualt")
    assert begun.returncode == 1
    assert 'there is no queue "defualt". Did you mean "default"?' in begun.stdout


def test_a_missing_queue_is_created_when_asked(agent: Agent) -> None:
    agent.daemon("--queue", "fresh", "--create-queue")
    task = agent.enqueue(agent.task(), "fresh")
    assert agent.final(task)["status"] == "completed"


def test_two_agents_have_two_slots_and_stop_asks_which(agent: Agent) -> None:
    agent.daemon()
    agent.daemon()
    ids = {worker["id"] for worker in agent.server.call("workers.get_all")["workers"]}
    assert ids == {"tester:0", "tester:1"}
    asked = agent.run("daemon", "--stop")
    assert asked.returncode == 1
    assert "tester:0, tester:1" in asked.stderr
    assert agent.run("daemon", "--stop", "tester:1").returncode == 0
    assert agent.daemons[0].poll() is None


def test_gpus_are_shown_to_the_task_and_name_the_worker(agent: Agent) -> None:
    agent.daemon("--gpus", "0-1")
    code = "import os\nprint(os.environ['NVIDIA_VISIBLE_DEVICES'], os.environ['CUDA_VISIBLE_DEVICES'])\n"
    task = agent.enqueue(agent.task(code))
    seen = agent.final(task)
    assert seen["last_worker"] == "tester:gpu0-1"
    assert "0,1 0,1\n" in agent.console(task)


def test_services_run_side_by_side_each_as_a_worker(agent: Agent) -> None:
    agent.daemon("--services-mode", "2", "--queue", "services", "--create-queue")
    tasks = [agent.enqueue(agent.task(SLEEPER), "services") for _ in range(3)]
    for task in tasks[:2]:
        agent.shows(task, "up")
    assert agent.get(tasks[0])["last_worker"] == f"tester:cpu:0:service:{tasks[0]}"
    assert agent.get(tasks[2])["status"] == "queued"
    agent.server.call("tasks.stop", task=tasks[0])
    assert agent.final(tasks[0])["status"] == "stopped"
    agent.shows(tasks[2], "up")


def test_nothing_is_left_of_finished_runs(agent: Agent) -> None:
    agent.daemon()
    agent.final(agent.enqueue(agent.task()))
    until(lambda: list((agent.state / "runs").iterdir()) == [])


def test_an_agent_inside_a_virtual_environment_works(agent: Agent) -> None:
    assert sys.prefix != sys.base_prefix, "the tests run in a virtual environment"
    agent.daemon()
    code = "import sys\nprint('prefix', sys.prefix)\ntry:\n    import attrs\nexcept ImportError:\n    print('not the agents packages')\n"
    task = agent.enqueue(agent.task(code))
    agent.final(task)
    console = agent.console(task)
    assert f"prefix {sys.prefix}\n" not in console
    assert "not the agents packages" in console


def test_an_abort_while_packages_are_installed_is_obeyed(agent: Agent) -> None:
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        port = never_answers.getsockname()[1]
        agent.daemon()
        wheel = f"slow @ http://127.0.0.1:{port}/slow-1.0-py3-none-any.whl"
        task = agent.enqueue(agent.task(requirements={"pip": wheel}))
        never_answers.settimeout(60)
        connection, _ = never_answers.accept()
        agent.server.call("tasks.stop", task=task)
        seen = agent.final(task)
        connection.close()
    assert (seen["status"], seen["status_reason"]) == ("stopped", "task was stopped by tasks.stop")
    assert agent.final(agent.enqueue(agent.task()))["status"] == "completed"


def test_an_abort_waits_for_the_callback_that_the_task_registered(agent: Agent) -> None:
    agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    agent.server.call("tasks.edit_runtime", task=task, add_or_update={"_abort_callback_timeout": "60"}, force=True)
    agent.server.call("tasks.stop", task=task)
    agent.shows(task, "### Task abort callback timeout set, waiting for max 60 sec ###")
    assert left_of(agent) != []
    agent.server.call("tasks.edit_runtime", task=task, add_or_update={"_abort_callback_completed": "1"}, force=True)
    assert agent.final(task)["status"] == "stopped"
    assert "### Task abort callback completed in" in agent.console(task)
    assert left_of(agent) == []


def test_secrets_of_the_agent_do_not_reach_the_console(agent: Agent) -> None:
    agent.variables = {"CLEARML_AGENT_GIT_PASS": "ghs_not-for-anybody"}
    agent.daemon()
    code = (
        "import os, base64\n"
        "for name, value in os.environ.items(): print(name, value)\n"
        "print(open(os.environ['CLEARML_CONFIG_FILE']).read())\n"
        "print(base64.b64encode(b'ghs_not-for-anybody').decode())\n"
    )
    task = agent.enqueue(agent.task(code))
    assert agent.final(task)["status"] == "completed"
    console = agent.console(task)
    assert "CLEARML_TASK_ID" in console
    for secret in ("ghs_not-for-anybody", agent.server.secret_key, "Z2hzX25vdC1mb3ItYW55Ym9keQ"):
        assert secret not in console
        assert secret not in agent.log()


def test_own_files_are_private(agent: Agent) -> None:
    agent.daemon()
    task = agent.enqueue(agent.task(SLEEPER))
    agent.shows(task, "up")
    for path in agent.state.rglob("*"):
        if not path.is_symlink() and "code" not in path.parts:
            assert path.stat().st_mode & 0o077 == 0, path
