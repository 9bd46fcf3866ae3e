"""Real forks. The nursery is opened in a program of its own, because the test runner has threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

_HEAD = """
import os, signal, sys, time
from pathlib import Path
from clearml_agent_clone.worker.nursery import Nursery
from clearml_agent_clone.launch.processes import wait_exit

def become(folder):
    (folder / "who").write_text(f"{os.getpid()} {os.getsid(0)} {signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL}")
    print("said to the log")
    if (folder / "fail").exists():
        raise ValueError("broken runner")
    time.sleep(float((folder / "sleep").read_text()) if (folder / "sleep").exists() else 0)
    (folder / "done").touch()
    return 0

root = Path(sys.argv[1])
nursery = Nursery()
nursery.open(become)
"""


def run(body: str, folder: Path) -> str:
    code = _HEAD + textwrap.dedent(body)
    result = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode in {0, -9}, result.stderr
    return result.stdout


def test_a_runner_has_a_session_and_a_log_of_its_own(tmp_path: Path) -> None:
    pid = run("born = nursery.start(root); wait_exit(born.process.pid, 20); print(born.process.pid)", tmp_path).strip()
    assert (tmp_path / "who").read_text() == f"{pid} {pid} True"
    assert "said to the log" in (tmp_path / "runner.log").read_text()
    assert (tmp_path / "runner.log").stat().st_mode & 0o077 == 0


def test_a_runner_that_breaks_says_so_in_its_log(tmp_path: Path) -> None:
    (tmp_path / "fail").touch()
    run("wait_exit(nursery.start(root).process.pid, 20)", tmp_path)
    assert "broken runner" in (tmp_path / "runner.log").read_text()


def test_a_runner_outlives_a_killed_daemon_and_the_nursery_does_not(tmp_path: Path) -> None:
    (tmp_path / "sleep").write_text("1.0")
    out = run(
        """
        born = nursery.start(root)
        print(born.process.pid, flush=True)
        os.kill(os.getpid(), 9)
        """,
        tmp_path,
    )
    from clearml_agent_clone.launch.processes import wait_exit

    assert wait_exit(int(out), 20)
    assert (tmp_path / "done").exists()


def test_without_a_nursery_runners_start_as_programs(tmp_path: Path) -> None:
    out = run(
        """
        nursery.close()
        born = nursery.start(root)
        print(born.child is not None, born.child.wait())
        """,
        tmp_path,
    )
    assert out.split() == ["True", "1"]  # there is nothing in this folder
    assert "ERROR" in (tmp_path / "runner.log").read_text()


def test_when_there_is_no_room_for_a_process_it_says_so_and_lives_on(tmp_path: Path) -> None:
    out = run(
        """
        nursery.close()
        real, results = os.fork, ["the nursery", "none", "a runner"]
        def scarce():
            if results.pop(0) == "none":
                raise BlockingIOError(11, "Resource temporarily unavailable")
            return real()
        nursery = Nursery()
        os.fork = scarce
        nursery.open(become)
        try:
            nursery.start(root)
        except OSError as error:
            print(error.errno)
        wait_exit(nursery.start(root).process.pid, 20)
        """,
        tmp_path,
    )
    assert out.split() == ["11"]
    assert (tmp_path / "done").exists()
