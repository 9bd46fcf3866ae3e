"""Runners without a daemon: one task each, started, killed and succeeded by the test."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import attrs

from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.launch.running import Manner as Kill
from clearml_agent_clone.launch.running import end_family
from clearml_agent_clone.runner.job import Job, RunFolder, new_run_id
from clearml_agent_clone.runner.journal import Journal, State
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.worker_tools import Agent, until

UP = "print('up', flush=True)\n"
SLEEPER = f"import time\n{UP}time.sleep(300)\n"
DEAF = f"import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{UP}time.sleep(300)\n"
TICKS = "import time\nfor i in range(COUNT):\n    print('tick', i, flush=True)\n    time.sleep(0.1)\n"


@attrs.define
class Run:
    """One run, and the runner that has it now."""

    agent: Agent
    folder: RunFolder
    task: str
    child: subprocess.Popen[bytes]
    variables: dict[str, str]

    @property
    def place(self) -> Place:
        return Place(self.folder.path, self.folder.path.name)

    @property
    def state(self) -> State:
        return Journal.open(self.folder.state_file).state

    @property
    def log(self) -> str:
        return (self.folder.path / "runner.log").read_text(errors="replace")

    @property
    def user(self) -> ProcessId:
        """The user's process, as soon as there is one."""
        found: ProcessId = until(self.place.user)
        return found

    @property
    def members(self) -> list[int]:
        return self.place.family().members()

    def says(self, text: str) -> None:
        """Wait until the process has written ``text``."""
        spool = self.folder.logs / "console.spool"
        until(lambda: spool.exists() and text in spool.read_text(errors="replace"))

    def kill(self) -> None:
        """``kill -9`` for the runner."""
        self.child.kill()
        self.child.wait()

    def signal(self, number: int) -> None:
        self.child.send_signal(number)

    def ends(self, exit_code: int = 0, patience: float = 60.0) -> dict[str, Any]:
        """Wait for the runner's end; returns the task. Nobody of the run may be left."""
        try:
            found = self.child.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(self.log) from None
        assert found == exit_code, self.log
        assert self.members == []
        if exit_code == 0:
            assert self.state is State.DONE
        return self.agent.get(self.task)

    def succeed(self, variables: Mapping[str, str] | None = None) -> None:
        """Start the next runner on the same folder."""
        self.variables.update(variables or {})
        self.child = _start(self.agent, self.folder, self.variables)

    def rewrite(self, name: str, **changes: Any) -> None:
        """Change what stands in one of the folder's records."""
        path = self.folder.path / name
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        end_family(self.place.family(), Kill())


@attrs.define
class Runs:
    """Starts runners as a daemon would; ends them with the test."""

    agent: Agent
    made: list[Run] = attrs.Factory(list)

    def pop(self, task: str) -> str:
        """Take the task out of its queue, as a worker does; returns the queue."""
        queue = self.agent.queue()
        entry = self.agent.server.call("queues.get_next_task", queue=queue)["entry"]
        assert entry["task"] == task
        return queue

    def start(self, task: str, variables: Mapping[str, str] | None = None, *, pop: bool = True) -> Run:
        """Start a runner for a task, which is enqueued and popped before."""
        queue = self.agent.queue()
        if pop:
            self.agent.enqueue(task)
            self.pop(task)
        run = self.claimed(task, queue)
        run.succeed(variables)
        return run

    def claimed(self, task: str, queue: str) -> Run:
        """A run that was written down; no runner has it yet."""
        now = time.time()
        job = Job(new_run_id(task, now), task, "tester:0", now, owner_id="tester:0", queue_id=queue)
        folder = RunFolder.create(self.agent.state / "runs", job)
        run = Run(self.agent, folder, task, subprocess.Popen(["true"]), {})
        run.child.wait()
        self.made.append(run)
        return run

    def close(self) -> None:
        for run in self.made:
            run.close()


def _start(agent: Agent, folder: RunFolder, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    with (folder.path / "runner.log").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "clearml_agent_clone.runner", str(folder.path)],
            env={**agent.environ, **variables},
            cwd=agent.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def setting(name: str, value: str) -> dict[str, str]:
    """A key of the agent's section as a variable."""
    return {f"CLEARML_AGENT__AGENT__{name.upper()}": value}


def through(proxy: FaultProxy) -> dict[str, str]:
    """The server behind a proxy, as a variable."""
    return {"CLEARML_API_HOST": proxy.url}
