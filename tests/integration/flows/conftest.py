"""A user with the real SDK, and a worker that is this agent or the classic one."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from benchmarks.contender import Contender, Daemon, make_peer

SCRIPTS = Path(__file__).parent / "scripts"
_ROOT = Path(__file__).resolve().parents[3]
_FINAL = {"completed", "failed", "stopped", "closed", "published"}


@attrs.frozen
class Worker:
    """Two daemons of one agent: the first takes ``queue``, the second ``services``."""

    name: str
    queue: str
    services: str
    patience: float
    """Seconds in which a task has to be through; installing packages is part of it."""

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables that tell a script where to send its tasks."""
        return {"FLOW_QUEUE": self.queue, "FLOW_SERVICES": self.services}


@attrs.frozen
class User:
    """Somebody at a machine of their own, with a git project and the SDK."""

    server: Any
    project: Path
    environ: dict[str, str]

    def run(self, script: str, *arguments: str, worker: Worker | None = None) -> str:
        """Run a script of the project as its user does; what it printed. Its variables name the ``worker``'s queues."""
        result = subprocess.run(
            [sys.executable, script, *arguments],
            cwd=self.project,
            env={**self.environ, **(worker.variables if worker else {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert result.returncode == 0, f"{script}: {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result.stdout

    def task_of(self, output: str) -> str:
        """The id of the task that a script said it was."""
        found = re.search(r"^TASK (\w+)$", output, re.MULTILINE)
        assert found, output
        return found[1]

    def read(self, task: str) -> dict[str, Any]:
        """A task as the SDK reads it back."""
        line = next(line for line in self.run("read.py", task).splitlines() if line.startswith("READ "))
        found: dict[str, Any] = json.loads(line.removeprefix("READ "))
        return found

    def clone(self, task: str, **parameters: str) -> str:
        """A clone of ``task`` with hyperparameters (``Section__name=value``) set anew."""
        clone = str(self.server.call("tasks.clone", task=task)["id"])
        wanted = [
            {"section": key.partition("__")[0], "name": key.partition("__")[2], "value": value}
            for key, value in parameters.items()
        ]
        if wanted:
            self.server.call("tasks.edit_hyper_params", task=clone, hyperparams=wanted)
        return clone

    def enqueue(self, task: str, queue: str) -> None:
        self.server.call("tasks.enqueue", task=task, queue_name=queue)

    def wait(self, task: str, patience: float) -> dict[str, Any]:
        """The task once its status is final. A task that is not ``completed`` shows its console."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            found: dict[str, Any] = self.server.call("tasks.get_by_id", task=task)["task"]
            if found["status"] in _FINAL:
                return found
            time.sleep(0.2)
        pytest.fail(f"task {task} is still {found['status']} after {patience:.0f} s\n{self.console(task)}")

    def console(self, task: str) -> str:
        """All console text of a task."""
        events = self.server.call("events.get_task_log", task=task, navigate_earlier=False, order="asc")["events"]
        return "\n".join(str(event["msg"]).rstrip("\n") for event in events)

    def completed(self, task: str, worker: Worker) -> str:
        """Wait for ``task`` to complete; its console."""
        found = self.wait(task, worker.patience)
        console = self.console(task)
        assert found["status"] == "completed", f"{found['status']}: {found.get('status_reason')}\n{console}"
        return console


@pytest.fixture(scope="session")
def user(shared_server: Any, tmp_path_factory: pytest.TempPathFactory) -> User:
    """A user whose project holds all scripts, committed and pushed."""
    folder = tmp_path_factory.mktemp("user")
    origin, project, home = folder / "origin.git", folder / "project", folder / "home"
    home.mkdir()
    _git(folder, "init", "--quiet", "--bare", "--initial-branch", "main", str(origin))
    _git(folder, "clone", "--quiet", origin.as_uri(), str(project))
    for script in SCRIPTS.glob("*.py"):
        (project / script.name).write_text(script.read_text())
    _git(project, "add", "--all")
    _git(project, "commit", "--quiet", "--message", "Scripts")
    _git(project, "push", "--quiet", "origin", "HEAD:main")
    conf = folder / "clearml.conf"
    # Reporting in a thread saves seconds whenever a script ends. Tasks at a worker report as the SDK does by default.
    # The SDK looks for the repository in a thread and loses what it finds when the script edits the task meanwhile (a
    # pipeline's controller always does), or when it takes ten seconds longer than the script: the task then waits in its
    # queue without any script. A busy machine is enough for that.
    settings = ("report_use_subprocess", "vcs_repo_detect_async")
    conf.write_text(shared_server.conf.read_text() + "".join(f"sdk.development.{name}: false\n" for name in settings))
    return User(shared_server, project, _environ(home, CLEARML_CONFIG_FILE=str(conf)))


@pytest.fixture(
    scope="session",
    params=["ours", pytest.param("peer", marks=[pytest.mark.peer, pytest.mark.slow, pytest.mark.timeout(900)])],
)
def worker(
    request: pytest.FixtureRequest, shared_server: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Worker]:
    """Daemons of this agent, then of the classic one. They live as long as the tests, so that caches are shared."""
    name = str(request.param)
    home = tmp_path_factory.mktemp(name)
    contender = _ours(home) if name == "ours" else attrs.evolve(make_peer(_ROOT / ".venvs"), home=home)
    contender.configure(shared_server.conf.read_text())
    found = Worker(name, f"{name}-queue", f"{name}-services", 100 if name == "ours" else 400)
    caches = _package_caches()
    with contextlib.ExitStack() as stack:
        for queue in (found.queue, found.services):
            daemon = stack.enter_context(
                Daemon(contender, queue, "--cpu-only", **caches, **found.variables, FLOW_COLOUR="green")
            )
            _wait_worker(shared_server, daemon)
        yield found


@pytest.fixture(scope="session")
def trained(user: User) -> str:
    """The task that ``train.py`` makes when its user runs it; tests clone it."""
    return user.task_of(user.run("train.py"))


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], Any], float], Any]:
    """Wait until a function gives something true."""

    def wait(look: Callable[[], Any], patience: float) -> Any:
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if found := look():
                return found
            time.sleep(0.2)
        pytest.fail(f"nothing came within {patience:.0f} s")

    return wait


def _ours(home: Path) -> Contender:
    return Contender("ours", Path(sys.executable), home, (sys.executable, "-m", "clearml_agent_clone"))


def _wait_worker(server: Any, daemon: Daemon) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and daemon.alive:
        if any(entry["id"] == daemon.worker for entry in server.call("workers.get_all")["workers"]):
            return
        time.sleep(0.1)
    pytest.fail(f"{daemon.worker} did not register\n{daemon.log.read_text()}")


def _environ(home: Path, **extra: str) -> dict[str, str]:
    foreign = ("CLEARML_", "TRAINS_", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "HOME": str(home), **extra}


def _package_caches() -> dict[str, str]:
    """The machine's own caches of downloaded packages: the only thing of the user's that these tests share."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(caches / "uv"),
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR") or str(caches / "pip"),
    }


def _git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=flows", "-c", "user.email=flows@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)
