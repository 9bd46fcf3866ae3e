"""Real processes: ones that ignore signals, leave children behind, hide in sessions of their own."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.local import Running, start
from clearml_agent_clone.launch.plan import RUN_MARK, LaunchPlan
from clearml_agent_clone.launch.processes import ProcessId

STUBBORN = (
    "import signal,sys,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
)
HIDING = (
    "import os,sys,time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        print(os.getpid(), flush=True)\n"
    "        time.sleep(60)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
)


def begin(code: str, tmp_path: Path, mark: str) -> tuple[Running, Path]:
    output = tmp_path / "out"
    plan = LaunchPlan((sys.executable, "-c", code), tmp_path, {**os.environ, RUN_MARK: mark})
    with output.open("wb") as file:
        return start(plan, file.fileno()), output


def wait_for_output(running: Running, output: Path) -> str:
    for _ in range(200):
        if output.stat().st_size:
            return output.read_text()
        running.wait(0.05)
    pytest.fail("the process said nothing")


def test_exit_code_and_output(tmp_path: Path) -> None:
    running, output = begin("print('hello'); raise SystemExit(3)", tmp_path, "run-exit")
    assert running.wait(30) == 3
    assert output.read_text() == "hello\n"


def test_a_process_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    running, output = begin(STUBBORN, tmp_path, "run-stubborn")
    wait_for_output(running, output)
    assert running.stop(0.1) == []
    assert running.wait(5) == -9


def test_a_process_that_obeys_sigterm_is_not_killed(tmp_path: Path) -> None:
    code = "import signal,sys,time; signal.signal(15, lambda *_: sys.exit(5)); print('up', flush=True); time.sleep(60)"
    running, output = begin(code, tmp_path, "run-polite")
    wait_for_output(running, output)
    assert running.stop(20) == []
    assert running.wait(5) == 5


def test_a_double_forked_child_in_a_session_of_its_own_is_found(tmp_path: Path) -> None:
    running, output = begin(HIDING, tmp_path, "run-hiding")
    hidden = int(wait_for_output(running, output))
    assert running.wait(10) == 0
    assert psutil.pid_exists(hidden)
    assert running.sweep() == []
    assert ProcessId.of(hidden) is None


def test_a_wait_ends_early_when_woken(tmp_path: Path) -> None:
    running, _ = begin("import time; time.sleep(60)", tmp_path, "run-woken")
    read_end, write_end = os.pipe()
    os.write(write_end, b"x")
    assert running.wait(30, wake=read_end) is None
    running.stop(0)
    os.close(read_end)
    os.close(write_end)


def test_a_program_that_is_not_there_is_named() -> None:
    with tempfile.TemporaryFile() as file, pytest.raises(UserError, match="no-such-program"):
        start(LaunchPlan(("no-such-program",), Path("/"), {RUN_MARK: "x"}), file.fileno())


def test_a_process_is_known_beyond_its_pid() -> None:
    own = ProcessId.of(os.getpid())
    assert own is not None
    assert own.alive
    assert ProcessId.from_record(own.to_record()) == own
    assert not ProcessId(own.pid, own.started + 1, own.boot).alive
    assert not ProcessId(own.pid, own.started, "another boot").alive
    assert ProcessId.from_record({"pid": "x"}) is None
