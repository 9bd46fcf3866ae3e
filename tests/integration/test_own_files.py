"""Everything that the agent writes is for its user only, whatever the umask."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.helpers.worker_tools import Agent, until

CODE = (
    "import os, pathlib, time\n"
    "pathlib.Path('written by the task').write_text('x')\n"
    "print('up', flush=True)\n"
    "while not pathlib.Path('go').exists(): time.sleep(0.05)\n"
)


def open_to_others(root: Path) -> list[str]:
    """What below ``root`` somebody else may read, change or enter, with its mode; ``root`` itself included."""
    found = []
    for folder, folders, files in os.walk(root):
        for path in (Path(folder), *(Path(folder) / name for name in (*folders, *files))):
            try:
                mode = path.lstat().st_mode
            except OSError:  # it was just being replaced or removed
                continue
            if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077:
                found.append(f"{stat.S_IMODE(mode):04o} {path.relative_to(root)}")
    return sorted(set(found))


def reachable_by_others(root: Path) -> list[str]:
    """Of those, the ones to which no closed folder bars the way."""

    def closed(path: Path) -> bool:
        return any(not (parent.stat().st_mode & 0o011) for parent in path.parents if parent.is_relative_to(root))

    return [line for line in open_to_others(root) if not closed(root / line.split(" ", 1)[1])]


@pytest.mark.parametrize("mask", [0o000, 0o777 & ~0o700])
def test_a_whole_task_leaves_nothing_that_others_may_read(agent: Agent, tmp_path: Path, mask: int) -> None:
    (agent.home / "clearml.conf").unlink(missing_ok=True)
    agent.home.chmod(0o755)
    repository = make_repository(tmp_path / "repository")
    agent.variables = {
        "CLEARML_AGENT__AGENT__GIT_ALLOW_LOCAL": "true",
        "CLEARML_AGENT_GIT_USER": "somebody",
        "CLEARML_AGENT_GIT_PASS": "a-secret-token",
    }
    log = (agent.home / "daemon-0.log").open("w")
    with log:
        child = subprocess.Popen(
            agent.command("--debug", "daemon", "--queue", "default"),
            env=agent.environ,
            cwd=agent.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            start_new_session=True,
            umask=mask,
        )
    agent.daemons.append(child)
    until(lambda: (agent.state / "workers" / "tester_0" / "worker.json").exists() or child.poll() is not None)
    assert child.poll() is None, agent.log()
    task = agent.enqueue(
        agent.task(
            "",
            diff=None,
            repository=f"file://{repository}",
            entry_point="script.py",
            requirements={"pip": "attrs"},
        )
    )
    agent.shows(task, "up")
    (run,) = (agent.state / "runs").iterdir()
    assert open_to_others(repository)  # it does find what is open
    while_running = open_to_others(agent.state)
    checkout = next(path.parent for path in run.rglob("script.py"))
    (checkout / "go").touch()
    assert agent.final(task)["status"] == "completed", agent.console(task)
    until((run / "kept").exists)
    afterwards = open_to_others(agent.state)
    names = {path.name for path in run.iterdir()}
    assert {"job.json", "state.json", "logs", "clearml.conf", "code", "runner.log"} <= names
    # The code is the user's: git, pip and the task make files there with the modes of the user's own umask, as they
    # would in a checkout by hand. Nobody comes that far: the run's folder is closed.
    ours = [line for line in {*while_running, *afterwards} if "/code/" not in line]
    assert ours == []
    assert reachable_by_others(agent.home / ".clearml") == []


def make_repository(folder: Path) -> Path:
    folder.mkdir()
    (folder / "script.py").write_text(CODE)
    for arguments in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("command", [["daemon", "--foreground"], ["daemon", "--detached"], ["execute", "--id", "x"]])
def test_a_state_folder_that_others_can_change_is_refused(agent: Agent, command: list[str]) -> None:
    agent.state.mkdir(parents=True)
    agent.state.chmod(0o777)
    if command[0] == "execute":
        command = ["execute", "--id", agent.task()]
    done = agent.run(*command)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "ERROR" in line]
    assert f"the state folder {agent.state} can be changed by other users (mode 0777)" in line
    assert f"chmod 700 {agent.state}" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_state_folder_of_another_user_is_refused(agent: Agent) -> None:
    agent.state.mkdir(parents=True, mode=0o700)
    os.chown(agent.state, 12345, 12345)
    done = agent.run("daemon", "--foreground")
    assert done.returncode == 1
    assert "belongs to user 12345, and this agent runs as user root (0)" in done.stderr
    assert "Traceback" not in done.stderr
