"""The state folder on a file system that is full, takes no more files, or has become read-only.

Promised: one clear line, no traceback, no task lost or run twice, and the agent goes on when there is space again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.logs.spool import RESERVE
from tests.helpers.worker_tools import Agent, until

MIB = 1 << 20
SIZE = 48 * MIB
FILES = 4000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("mount") is None, reason="mounting a small file system takes root"
    ),
]


@attrs.define
class SmallDisk:
    """A file system of its own for the state folder."""

    path: Path

    def fill(self) -> None:
        """Leave no space."""
        with (self.path / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 65536)
        with (self.path / "filler.rest").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x")

    def use_up_files(self) -> None:
        """Leave room for no more files."""
        with contextlib.suppress(OSError):
            for number in range(FILES + 1):
                (self.path / f"filler.{number}").touch()

    def free(self) -> None:
        """Make room again."""
        for file in self.path.glob("filler*"):
            file.unlink()

    def remount(self, *options: str) -> None:
        """Only while nobody has a file open for writing."""
        subprocess.run(["mount", "-o", ",".join(["remount", *options]), str(self.path)], check=True)

    def freeze(self, frozen: bool) -> None:
        """Make the folders that the agent writes into unchangeable, for root too, or changeable again."""
        folders = [self.path, *self.path.glob("runs"), *self.path.glob("workers/*")]
        flag = "+i" if frozen else "-i"
        done = subprocess.run(["chattr", flag, *map(str, folders)], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"this file system cannot make folders unchangeable: {done.stderr.strip()}")


@pytest.fixture(params=["tmpfs", "ext4"])
def disk(request: pytest.FixtureRequest, agent: Agent, tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk that the agent has its state folder on."""
    path = tmp_path / "small"
    path.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={SIZE},nr_inodes={FILES},mode=0700", "small"]
    if request.param == "ext4":
        image = tmp_path / "small.img"
        with image.open("wb") as file:
            file.truncate(SIZE)
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("there is no mkfs.ext4")
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", "-N", str(FILES), str(image)], check=True)
        options = ["-o", "loop", str(image)]
    mounted = subprocess.run(["mount", *options, str(path)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount: {mounted.stderr.strip()}")
    path.chmod(0o700)
    agent.variables = {"CLEARML_AGENT_STATE_DIR": str(path)}
    try:
        yield SmallDisk(path)
    finally:
        agent.close()
        subprocess.run(["umount", "-l", str(path)], check=True)


def agent_errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if "clearml_agent: ERROR" in line]


def idle(agent: Agent) -> bool:
    return "idle" in agent.run("status").stdout


def test_a_daemon_on_a_full_disk_says_so_in_one_line(agent: Agent, disk: SmallDisk) -> None:
    disk.fill()
    for flags in (["--foreground"], ["--detached"]):
        done = agent.run("daemon", *flags)
        assert done.returncode == 1
        (line,) = agent_errors(done.stderr + done.stdout)
        assert "no space left" in line
        assert "Free some disk space" in line
        assert "Traceback" not in done.stderr + done.stdout
    disk.free()
    agent.daemon()
    assert agent.final(agent.enqueue(agent.task()))["status"] == "completed"


def test_a_daemon_on_a_read_only_disk_says_so_in_one_line(agent: Agent, disk: SmallDisk) -> None:
    disk.remount("ro")
    done = agent.run("daemon", "--foreground")
    assert done.returncode == 1
    (line,) = agent_errors(done.stderr)
    assert "Read-only file system" in line
    assert "CLEARML_AGENT_STATE_DIR" in line
    disk.remount("rw")


@pytest.mark.parametrize("what", ["space", "files", "read-only"])
def test_a_task_that_finds_the_disk_full_is_not_lost(agent: Agent, disk: SmallDisk, what: str) -> None:
    agent.daemon()
    first = agent.enqueue(agent.task())
    assert agent.final(first)["status"] == "completed"
    until(lambda: idle(agent))
    if what == "space":
        disk.fill()
    elif what == "files":
        disk.use_up_files()
    else:
        disk.freeze(frozen=True)
    task = agent.enqueue(agent.task())
    until(lambda: task in agent.log())
    assert agent.get(task)["status"] in {"queued", "in_progress"}
    assert "Traceback" not in agent.log()
    if what == "read-only":
        disk.freeze(frozen=False)
    disk.free()
    assert agent.final(task)["status"] == "completed"
    assert agent.console(task).count("hello\n") == 1
    assert "Traceback" not in agent.log()


@pytest.mark.parametrize("forgiving", [False, True])
def test_a_task_that_fills_the_disk_with_its_console_ends_with_a_word_about_it(
    agent: Agent, disk: SmallDisk, forgiving: bool
) -> None:
    agent.daemon()
    go = agent.home / "go"
    code = (
        "import os, sys, time\n"
        "print('up', flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "line = 'x' * 1000\n"
        f"for number in range({3 * RESERVE // 1000}):\n"
        "    try:\n"
        "        print(number, line, flush=True)\n"
        "    except OSError as error:\n"
        f"        if not {forgiving!r}: raise\n"
        "        time.sleep(0.001)\n"
    )
    task = agent.enqueue(agent.task(code))
    agent.shows(task, "up")
    disk.fill()
    go.touch()
    seen = agent.final(task)
    console = agent.console(task)
    assert "no space left on the disk" in console
    if forgiving:
        assert seen["status"] == "completed"
    else:
        assert seen["status"] in {"completed", "failed"}
        if seen["status"] == "failed":
            assert re.search(r"No space left on device|exit code", console)
    disk.free()
    after = agent.enqueue(agent.task())
    assert agent.final(after)["status"] == "completed"
    assert "Traceback" not in agent.log()
