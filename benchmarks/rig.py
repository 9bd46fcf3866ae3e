"""What every measurement stands on: the server, the agents, a git repository with the user's scripts, marks."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from benchmarks.contender import Contender, Daemon
from benchmarks.server import Server, Watcher
from benchmarks.stats import Samples

FINAL = frozenset({"completed", "failed", "stopped", "closed", "published"})
POLL = 0.01
_LIMIT = 600.0

_PREAMBLE = """\
import time
first = time.time()
import os
_mark = {marks!r} + "/" + os.environ["CLEARML_TASK_ID"]
with open(_mark + ".pid", "w") as file:
    file.write(str(os.getpid()))
with open(_mark + ".first", "w") as file:
    file.write(repr(first))
"""
_POSTAMBLE = """\
with open(_mark + ".last", "w") as file:
    file.write(repr(time.time()))
"""
SCRIPTS = {
    "plain.py": "",
    "packages.py": "import numpy\nassert numpy.arange(3).sum() == 3\n",
    "sleep.py": "time.sleep(600)\n",
    "console.py": "for number in range({lines}):\n    print(f'bench {{number:06d}}')\n",
    # The lines are ready before the clock starts: what prints must not be what limits.
    "flood.py": """\
blocks = [
    "".join(f"bench {{number:06d}}\\n" for number in range(begin, begin + 1000)).encode()
    for begin in range(0, {flood_lines}, 1000)
]
with open(_mark + ".flood", "w") as file:
    file.write(repr(time.time()))
for block in blocks:
    os.write(1, block)
""",
    "steady.py": """\
begin = time.monotonic()
for number in range(1000 * {steady_seconds}):
    time.sleep(max(0.0, begin + number / 1000 - time.monotonic()))
    print(f"bench {{number:06d}}", flush=True)
""",
}


@attrs.frozen
class Options:
    rounds: int
    quick: bool
    folder: Path

    @property
    def lines(self) -> int:
        """How many lines the console measurement prints."""
        return 10_000 if self.quick else 100_000

    @property
    def flood_lines(self) -> int:
        """How many lines the task writes that writes as fast as it can."""
        return 100_000 if self.quick else 1_000_000

    @property
    def steady_seconds(self) -> int:
        """For how long the task prints that prints 1,000 lines a second."""
        return 10 if self.quick else 26

    @property
    def idle_seconds(self) -> float:
        """How long an idle daemon is watched."""
        return 20.0 if self.quick else 90.0


@attrs.frozen
class Rig:
    options: Options
    ours: Contender
    peer: Contender | None
    server: Server
    watcher: Watcher

    @property
    def contenders(self) -> list[Contender]:
        """The agents in the order in which each round runs them."""
        return [self.ours] if self.peer is None else [self.peer, self.ours]

    @property
    def marks(self) -> Path:
        """Where the scripts leave times and process ids, one file each, named after the task."""
        return self.options.folder / "marks"

    @property
    def repository(self) -> Path:
        return self.options.folder / "repository"

    def prepare(self) -> None:
        """Make the repository that all tasks are cloned from."""
        self.marks.mkdir(exist_ok=True)
        self.repository.mkdir(exist_ok=True)
        for name, body in SCRIPTS.items():
            text = _PREAMBLE.format(marks=str(self.marks)) + self._filled(body) + _POSTAMBLE
            self.repository.joinpath(name).write_text(text)
        self._git("init", "--quiet", "--initial-branch", "main")
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", "Scripts to measure with")

    def _filled(self, body: str) -> str:
        options = self.options
        return body.format(lines=options.lines, flood_lines=options.flood_lines, steady_seconds=options.steady_seconds)

    def commit(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def create(self, script: str, requirements: str = "") -> str:
        """A task that runs ``script`` with exactly the packages in ``requirements``; its id."""
        body: dict[str, Any] = {
            "name": f"bench {script}",
            "type": "training",
            "script": {
                "repository": self.repository.as_uri(),
                "branch": "main",
                "version_num": self.commit(),
                "entry_point": script,
                "working_dir": ".",
                "binary": f"python{sys.version_info.major}.{sys.version_info.minor}",
                "requirements": {"pip": requirements},
                "diff": "",
            },
        }
        return str(self.watcher.call("tasks.create", **body)["id"])

    def enqueue(self, task: str, queue: str) -> float:
        """Put ``task`` into ``queue``; the time (Unix seconds) just before."""
        identity = next(q["id"] for q in self.watcher.call("queues.get_all", name=f"^{queue}$")["queues"])
        started = time.time()
        self.watcher.call("tasks.enqueue", task=task, queue=identity)
        return started

    def mark(self, task: str, kind: str, limit: float = _LIMIT) -> float:
        """Wait until the script left its mark of this kind: ``first``, ``last`` (Unix seconds) ``pid``, or one of its own."""
        path = self.marks / f"{task}.{kind}"
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if path.exists() and (text := path.read_text()):
                return float(text)
            status = self.watcher.task(task, "status", "status_reason")
            if status["status"] in FINAL and not path.exists():
                raise RuntimeError(
                    f"task {task} ended {status['status']} before its mark: {status.get('status_reason')}"
                )
            time.sleep(0.02)
        raise RuntimeError(f"task {task} left no mark {kind} within {limit:.0f} s")

    def final(self, task: str, limit: float = _LIMIT) -> tuple[str, float]:
        """Wait for a final status, asking every 10 ms; the status and the time (Unix seconds) it was seen."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            status = str(self.watcher.task(task, "status")["status"])
            if status in FINAL:
                return status, time.time()
            time.sleep(POLL)
        raise RuntimeError(f"task {task} did not end within {limit:.0f} s")

    @contextlib.contextmanager
    def daemons(self) -> Iterator[dict[str, Daemon]]:
        """A daemon of each agent, each on a queue of its own, both up and idle."""
        with contextlib.ExitStack() as stack:
            running = {one.name: stack.enter_context(self.daemon(one)) for one in self.contenders}
            yield running

    @contextlib.contextmanager
    def daemon(self, contender: Contender, **environ: str) -> Iterator[Daemon]:
        """A daemon of ``contender`` that has registered."""
        with Daemon(contender, f"bench-{contender.name}", **environ) as daemon:
            try:
                self.watcher.wait_worker(daemon.worker)
            except RuntimeError as error:
                raise RuntimeError(f"{error}; see {daemon.log}") from None
            yield daemon

    def round_trips(self, count: int = 50) -> Samples:
        """Seconds of one HTTP request to the server and back."""
        values = []
        for _ in range(count):
            started = time.perf_counter()
            self.watcher.call("debug.ping")
            values.append(time.perf_counter() - started)
        return Samples.of(values)

    def bare(self, script: str, rounds: int) -> Samples:
        """Seconds from the start of ``python script.py`` to its first line."""
        values = []
        for number in range(rounds):
            name = f"bare-{number}"
            self.marks.joinpath(f"{name}.first").unlink(missing_ok=True)
            started = time.time()
            subprocess.run(
                [self.ours.python, "-u", self.repository / script],
                env={**self.ours.environ(), "CLEARML_TASK_ID": name},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            values.append(self.mark_of_bare(name) - started)
        return Samples.of(values)

    def mark_of_bare(self, name: str) -> float:
        return float(self.marks.joinpath(f"{name}.first").read_text())

    def _git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=self.repository, capture_output=True, text=True, check=True
        ).stdout
