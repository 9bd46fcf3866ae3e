from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.runner.journal import State
from clearml_agent_clone.util.files import write_json
from clearml_agent_clone.worker.sight import survey as module
from clearml_agent_clone.worker.sight.report import size, span, to_json, to_text
from clearml_agent_clone.worker.sight.responder import listen_unix
from clearml_agent_clone.worker.sight.runs import ConsoleView, RunView
from clearml_agent_clone.worker.sight.sight import Sight
from clearml_agent_clone.worker.sight.snapshot import AgentState, DaemonSnapshot
from clearml_agent_clone.worker.sight.survey import Disk, take_survey
from tests.helpers.sight_tools import SNAPSHOT, healthy, make_run, make_worker

GONE = ProcessId(2**22 - 1, 1.0, "before the last restart")


@contextlib.contextmanager
def answering(state_dir: Path, snapshot: DaemonSnapshot) -> Iterator[None]:
    folder = make_worker(state_dir, snapshot.worker_id)
    with Sight(folder, state_dir, lambda: snapshot, str):
        yield


def test_a_healthy_agent_and_its_task(tmp_path: Path) -> None:
    make_run(tmp_path, "t1", written=b"x" * 1000, delivered=400, lost=10, alive=True)
    make_run(tmp_path, "t2", moves=(State.PREPARING, State.FINISHING, State.DONE))
    with answering(tmp_path, healthy(started_at=time.time() - 7300)):
        write_json(tmp_path / "workers" / "host_0" / "claim.json", {"claim": "c1"})
        seen = take_survey(tmp_path)
    assert seen.healthy
    data = to_json(seen)
    (agent,) = data["agents"]
    assert (agent["state"], agent["answers"], agent["pid"], agent["version"]) == ("working", True, os.getpid(), "1.2.3")
    assert (agent["capacity"], agent["free_slots"], agent["queues"]) == (2, 1, ["default", "q2"])
    assert 7300 <= agent["uptime_seconds"] < 7400
    assert agent["claim"]["id"] == "c1"
    assert agent["server"]["reachable"]
    (task,) = agent["tasks"]
    assert (task["task_id"], task["state"], task["since"], task["queue"]) == ("t1", "running", 1120.0, "default")
    assert (task["gpus"], task["runner_pid"], task["pid"]) == ("0,1", os.getpid(), None)
    assert task["console"] == {
        "written_bytes": 1000,
        "delivered_bytes": 390,
        "backlog_bytes": 600,
        "lost_bytes": 10,
        "delivered_lines": 40,
    }
    text = to_text(seen)
    assert "host:0: working, pid" in text
    assert "up 2 h 1 min" in text
    assert "slots     1 of 2 free" in text
    assert "queue default, GPUs 0,1, console 1.0 kB, 600 B to deliver, 10 B lost" in text


def test_an_agent_that_is_unwell_says_why(tmp_path: Path) -> None:
    with answering(tmp_path, SNAPSHOT):
        seen = take_survey(tmp_path)
    assert not seen.healthy
    assert seen.agents[0].problems == (
        'loop heartbeat has not worked for 170 s: no "way"\\\nback',
        "the server does not answer: refused",
    )
    assert "(failing: no" in to_text(seen)


def test_an_agent_that_hangs_does_not_hang_us(tmp_path: Path) -> None:
    folders = [make_worker(tmp_path, f"host:{number}") for number in range(3)]
    make_run(tmp_path, "t1", alive=True)
    begin = time.monotonic()
    with contextlib.ExitStack() as stack:
        for folder in folders[:2]:
            stack.enter_context(listen_unix(folder))  # connected by the kernel, and nobody answers
        seen = take_survey(tmp_path, patience=0.3)
    assert time.monotonic() - begin < 3
    assert [agent.problems for agent in seen.agents] == [("it does not answer: the process hangs or is stopped",)] * 3
    assert "host:0: does not answer, pid" in to_text(seen)
    assert (seen.agents[0].version, seen.agents[0].queues, len(seen.agents[0].tasks)) == ("1.2.2", ("default",), 1)


def test_what_the_dead_have_left(tmp_path: Path) -> None:
    make_worker(tmp_path, "killed:0", GONE)
    make_run(tmp_path, "t1", owner="killed:0")
    make_run(tmp_path, "t2", owner="stopped:0", alive=True)
    make_run(tmp_path, "t3", owner="stopped:0", alive=True)
    seen = take_survey(tmp_path)
    assert [(agent.worker_id, agent.state) for agent in seen.agents] == [
        ("killed:0", AgentState.NOT_RUNNING),
        ("stopped:0", AgentState.NOT_RUNNING),
    ]
    assert seen.agents[0].problems[0] == "it died, or was killed"
    assert "left a task unfinished" in seen.agents[0].problems[1]
    assert "left 2 tasks unfinished" in seen.agents[1].problems[0]
    assert not seen.healthy
    text = to_text(seen)
    assert "killed:0: not running" in text
    assert "no runner" in text


def test_tasks_of_execute_have_no_agent(tmp_path: Path) -> None:
    make_run(tmp_path, "t1", owner="", alive=True)
    make_run(tmp_path, "t2", owner="")  # its runner is gone; nobody will go on with it
    seen = take_survey(tmp_path)
    assert [run.task_id for run in seen.by_hand] == ["t1"]
    assert "Executed by hand" in to_text(seen)
    assert "No agent is running here" in to_text(seen)
    assert not seen.healthy


def test_nothing_at_all(tmp_path: Path) -> None:
    seen = take_survey(tmp_path / "none")
    assert (seen.agents, seen.disk, seen.healthy) == ((), None, False)
    assert to_json(seen)["disk"] is None


def test_foreign_files_do_not_matter(tmp_path: Path) -> None:
    for number, content in enumerate(("", "[]", "{}", '{"worker_id": "w", "process": 3}')):
        folder = tmp_path / "workers" / f"w{number}"
        folder.mkdir(parents=True)
        (folder / "worker.json").write_text(content)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "file").touch()
    (tmp_path / "runs" / "empty").mkdir()
    assert [agent.worker_id for agent in take_survey(tmp_path).agents] == ["w"]


@pytest.mark.parametrize("said", [b"", b"{}", b"not json", b'{"format": 99}'])
def test_an_answer_of_another_version_counts_as_none(tmp_path: Path, said: bytes) -> None:
    folder = make_worker(tmp_path, "host:0")
    code = (
        "import socket, sys; s = socket.socket(fileno=3); c = s.accept()[0]; c.sendall(sys.argv[1].encode()); c.close()"
    )
    with listen_unix(folder) as listener:
        os.set_inheritable(listener.fileno(), True)
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", code.replace("=3", f"={listener.fileno()}"), said.decode()],
            pass_fds=(listener.fileno(),),
        )
        seen = take_survey(tmp_path, patience=10)
        assert child.wait() == 0
    assert seen.agents[0].problems == ("it does not answer: the process hangs or is stopped",)


@pytest.mark.parametrize(
    ("free", "files", "problem"),
    [
        (10**9, 10**6, ""),
        (10**9, None, ""),
        (10**6, 10**6, "the disk of the state folder is full, or nearly so: 1000000 bytes are free"),
        (10**9, 3, "the disk of the state folder takes only 3 more files"),
    ],
)
def test_a_full_disk_is_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, files: int | None, problem: str
) -> None:
    monkeypatch.setattr(module.Disk, "of", lambda path: Disk(free, 10**12, files))
    with answering(tmp_path, healthy()):
        seen = take_survey(tmp_path)
    assert seen.problems == ((problem,) if problem else ())
    assert seen.healthy == (not problem)
    assert (problem in to_text(seen)) == bool(problem) or not problem


def test_a_console_that_was_not_begun_is_empty(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "t1")
    for file in folder.logs.iterdir():
        file.unlink()
    assert ConsoleView.of(folder) == ConsoleView()


def test_only_those_that_are_named(tmp_path: Path) -> None:
    make_run(tmp_path, "t1", owner="", alive=True)
    with answering(tmp_path, healthy()), answering(tmp_path, attrs.evolve(healthy(), worker_id="host:1")):
        seen = take_survey(tmp_path, ["host:1", "host:9"])
    assert [agent.worker_id for agent in seen.agents] == ["host:1"]
    assert seen.by_hand == ()


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2e9, "2.0 GB"), (3e15, "3000.0 TB")]
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0 s"), (59.9, "59 s"), (61, "1 min"), (7260, "2 h 1 min"), (90_000, "1 d 1 h")]
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_json_has_the_same_keys_whatever_happened(tmp_path: Path) -> None:
    def keys(agent: dict[str, Any]) -> set[str]:
        return set(agent)

    make_worker(tmp_path, "killed:0", GONE)
    with answering(tmp_path, healthy()):
        data = to_json(take_survey(tmp_path))
    assert data["format"] == 1
    alive, dead = data["agents"]
    assert keys(alive) == keys(dead)


def test_what_was_given_up_is_lost_and_no_backlog(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "t1", written=b"x" * 1000, delivered=400, lost=10)
    write_json(folder.logs / "console.gaps", [[100, 200, 3], [300, 450, 2], [600, 700, 1]])
    seen = ConsoleView.of(folder)
    assert (seen.delivered_bytes, seen.backlog_bytes, seen.lost_bytes) == (390, 450, 160)
    assert RunView.of(folder) is not None
