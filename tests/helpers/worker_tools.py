"""Start the agent's command line against a test server, and make tasks for it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

FINAL = {"completed", "failed", "stopped", "closed", "published"}
_PATIENCE = 60.0
_LONGEST_PAUSE = 0.2


def until(found: Callable[[], Any], patience: float = _PATIENCE) -> Any:
    """Wait for something that another process does: look again until it is true, less often the longer it takes.

    Looks cost processor time, which others on the machine need to get there.
    """
    begin = now = time.monotonic()
    while now - begin < patience:
        value = found()
        if value:
            return value
        time.sleep(min(_LONGEST_PAUSE, 0.02 + 0.1 * (now - begin)))
        now = time.monotonic()
    raise AssertionError("it did not happen")


@attrs.define
class Agent:
    """One user's agent: a home, a state folder, a configuration, and the server that it belongs to."""

    server: Any
    home: Path
    variables: Mapping[str, str] = attrs.Factory(dict)
    daemons: list[subprocess.Popen[str]] = attrs.Factory(list)
    python: str = sys.executable

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
        return {
            **kept,
            "HOME": str(self.home),
            "PYENV_ROOT": os.environ.get("PYENV_ROOT", str(Path("~/.pyenv").expanduser())),
            "CLEARML_CONFIG_FILE": str(self.server.conf),
            "CLEARML_AGENT__AGENT__WORKER_NAME": "tester",
            **self.variables,
        }

    @property
    def state(self) -> Path:
        return self.home / ".clearml" / "agent"

    def command(self, *arguments: str) -> list[str]:
        return [self.python, "-W", "error", "-m", "clearml_agent_clone", *arguments]

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.environ, **variables},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def daemon(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a daemon in the foreground and wait until it listens."""
        log = self.home / f"daemon-{len(self.daemons)}.log"
        with log.open("w") as output:
            child = subprocess.Popen(
                self.command("daemon", "--foreground", *arguments),
                env=self.environ,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self.daemons.append(child)
        until(lambda: "listens to" in log.read_text() or child.poll() is not None)
        assert child.poll() is None, log.read_text()
        return child

    def log(self, number: int = 0) -> str:
        return (self.home / f"daemon-{number}.log").read_text()

    def close(self) -> None:
        """End every daemon, gracefully if it will, and whatever it left."""
        for child in self.daemons:
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        for child in self.daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(30)
            child.kill()
            child.wait()

    # tasks

    def task(self, code: str = "print('hello')\n", **script: Any) -> str:
        """A task that runs ``code``, or whatever ``script`` says."""
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        fields = {"diff": code, "entry_point": "script.py", "binary": version, "requirements": {"pip": ""}, **script}
        project = self.server.call("projects.get_all", name="^agent tests$")["projects"]
        project_id = project[0]["id"] if project else self.server.call("projects.create", name="agent tests")["id"]
        return str(
            self.server.call("tasks.create", name="a task", type="training", project=project_id, script=fields)["id"]
        )

    def queue(self, name: str = "default") -> str:
        found = self.server.call("queues.get_all", name=f"^{name}$")["queues"]
        return str(found[0]["id"] if found else self.server.call("queues.create", name=name)["id"])

    def enqueue(self, task: str, queue: str = "default") -> str:
        self.server.call("tasks.enqueue", task=task, queue=self.queue(queue))
        return task

    def get(self, task: str) -> dict[str, Any]:
        found: dict[str, Any] = self.server.call("tasks.get_by_id", task=task)["task"]
        return found

    def final(self, task: str) -> dict[str, Any]:
        """The task as soon as it has come to an end."""
        found: dict[str, Any] = until(lambda: (seen := self.get(task))["status"] in FINAL and seen)
        return found

    def console(self, task: str) -> str:
        events = self.server.call("events.get_task_log", task=task, navigate_earlier=False, batch_size=10_000)["events"]
        return "".join(event["msg"] for event in events)

    def shows(self, task: str, text: str) -> None:
        """Wait until the task's console on the server has ``text``."""
        until(lambda: text in self.console(task))
