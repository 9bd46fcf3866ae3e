"""A place to crash in: one user's agent under the injector, a supervisor, and all that must hold afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import psutil

from clearml_agent_clone.launch.plan import RUN_MARK
from clearml_agent_clone.worker.housekeeping import Ages, Housekeeping
from tests.crash.points import Point
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.worker_tools import FINAL, Agent, until

INJECT = Path(__file__).parent / "inject"
LINES = 120
COMPLETED = "completed: worker execution done"
_PATIENCE = 25.0

_LIFE = """\
import os, sys, time
def note(name, text):
    handle = os.open(os.path.join({marks!r}, os.environ["CLEARML_TASK_ID"] + name), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(handle, text.encode())
    os.close(handle)
note(".starts", f"{{os.getpid()}}\\n")
for number in range({lines}):
    os.write(1, f"line {{number}}\\n".encode())
    note(".lines", f"line {{number}}\\n")
    time.sleep({pause})
sys.exit({code})
"""


@attrs.define
class Yard:
    """One agent with a supervisor that starts the daemon again whenever it died, as systemd would.

    ``flags`` are those of the daemon. ``restarts`` counts.
    """

    agent: Agent
    proxy: FaultProxy
    flags: tuple[str, ...] = ()
    restarts: int = 0
    _child: subprocess.Popen[str] | None = None
    _stopped: bool = False

    @classmethod
    def open(cls, server: Any, proxy: FaultProxy, folder: Path, *flags: str, **variables: str) -> Yard:
        """A yard in ``folder`` with a configuration of its own; ``variables`` are for the agent's environment."""
        home = folder / "home"
        for path in (home, folder / "crash", folder / "marks"):
            path.mkdir(parents=True)
        import_path = os.pathsep.join(filter(None, [str(INJECT), os.environ.get("PYTHONPATH", "")]))
        settings = {
            "CRASH_DIR": str(folder / "crash"),
            "PYTHONPATH": import_path,
            "CLEARML_CONFIG_FILE": str(home / "conf"),
        }
        yard = cls(Agent(server, home, {**settings, **variables}), proxy, flags)
        yard.configure()
        return yard

    @property
    def folder(self) -> Path:
        return self.agent.home.parent

    @property
    def crash(self) -> Path:
        return self.folder / "crash"

    def configure(self, **settings: str) -> None:
        """Write the configuration with these settings of ``agent`` in it; counts from the next run on."""
        settings = {"git_allow_local": "true", **settings}
        lines = [f"agent.{name}: {value}" for name, value in settings.items()]
        text = Path(self.agent.server.conf).read_text().replace(self.agent.server.api_url, self.proxy.url)
        conf = self.agent.home / "conf"
        conf.write_text("\n".join([text, *lines, ""]))
        conf.chmod(0o600)

    # the supervisor

    def start(self) -> None:
        """Start the daemon; the supervisor has been told to keep it up."""
        self._stopped = False
        log = self.folder / f"daemon-{self.restarts}.log"
        with log.open("w") as output:
            self._child = subprocess.Popen(
                self.agent.command("daemon", "--foreground", *self.flags),
                env=self.agent.environ,
                cwd=self.agent.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self.restarts += 1

    def supervise(self) -> None:
        """Start the daemon again if it died."""
        if not self._stopped and (self._child is None or self._child.poll() is not None):
            self.start()

    def up(self) -> None:
        """Wait until the daemon listens; starts it if it was stopped."""
        if self._stopped:
            self.start()

        def listening() -> bool:
            self.supervise()
            return "listens to" in (self.folder / f"daemon-{self.restarts - 1}.log").read_text()

        try:
            until(listening, _PATIENCE)
        except AssertionError:
            raise AssertionError(f"the daemon does not come up\n{self.words()}") from None

    def stop(self, number: int = signal.SIGINT) -> None:
        """Send the daemon a signal; the supervisor lets it go."""
        self._stopped = True
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def gone(self) -> int:
        """Wait until the stopped daemon has ended; its exit code."""
        assert self._child is not None
        return self._child.wait(_PATIENCE)

    def close(self) -> None:
        """End everything that belongs to this yard, gently or not."""
        self.stop()
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(5)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self._child is not None:
            self._child.wait()

    def renew(self) -> None:
        """A daemon with a nursery again."""
        self.stop()
        self.gone()
        self.up()

    # the life

    def code(self, lines: int = LINES, pause: float = 0.004, code: int = 0) -> str:
        """Code that notes its starts and its lines in files of its own."""
        return _LIFE.format(marks=str(self.folder / "marks"), lines=lines, pause=pause, code=code)

    def task(self, lines: int = LINES, pause: float = 0.004, code: int = 0, **script: Any) -> str:
        """A task with such code."""
        return self.agent.task(**{"code": self.code(lines, pause, code), **script})

    def enqueue(self, *tasks: str) -> None:
        for task in tasks:
            self.agent.enqueue(task)

    def arm(self, point: Point) -> None:
        """Kill whom ``point`` names when it is reached; nothing else from now on."""
        record = {
            "id": uuid.uuid4().hex,
            "role": point.role,
            "event": f"{point.when} {point.event}",
            "nth": point.nth,
            "kill": list(point.kill),
        }
        fresh = self.crash / "armed.new"
        fresh.write_text(json.dumps(record))
        fresh.replace(self.crash / "armed.json")

    def disarm(self) -> None:
        """Kill nobody."""
        (self.crash / "armed.json").unlink(missing_ok=True)

    def kill(self, *roles: str) -> None:
        """SIGKILL for all living processes of these roles, now."""
        ours = {process.pid: process for process in self.processes()}
        known = [line.split("\t") for line in (self.crash / "pids").read_text().splitlines()]
        for role, pid in known:
            if role in roles and int(pid) in ours:
                with contextlib.suppress(psutil.Error):
                    ours[int(pid)].kill()

    def has_fired(self) -> bool:
        """Whether the armed point is reached, or will be in a moment: it may come after the task's last status."""
        try:
            until(lambda: self.fired, 3.0)
        except AssertionError:
            return False
        return True

    @property
    def fired(self) -> bool:
        """Whether the armed point was reached."""
        record = json.loads((self.crash / "armed.json").read_text())
        return (self.crash / f"fired-{record['id']}").exists()

    def trace(self) -> list[tuple[str, str]]:
        """Role and event of all that happened since ``forget``."""
        lines = (self.crash / "trace").read_text().splitlines()
        return [(role, event) for role, _, event in (line.partition("\t") for line in lines)]

    def forget(self) -> None:
        (self.crash / "trace").write_text("")

    def final(self, *tasks: str, patience: float = _PATIENCE) -> list[dict[str, Any]]:
        """The tasks as soon as all have come to an end; the daemon is kept up meanwhile."""
        seen: dict[str, dict[str, Any]] = {}

        def ended() -> bool:
            self.supervise()
            for task in tasks:
                if task not in seen:
                    found = self.agent.get(task)
                    if found["status"] in FINAL:
                        seen[task] = found
            return len(seen) == len(tasks)

        try:
            until(ended, patience)
        except AssertionError:
            left = {task: self.agent.get(task)["status"] for task in tasks}
            raise AssertionError(f"tasks without an end: {left}\n{self.words()}") from None
        return [seen[task] for task in tasks]

    def words(self) -> str:
        """The end of the logs of daemon and runners, for a person who has to find out."""
        files = [*sorted(self.folder.glob("daemon-*.log"))[-2:], *self.agent.state.glob("runs/*/runner.log")]
        return "\n".join(f"--- {file.name}\n" + "\n".join(file.read_text().splitlines()[-15:]) for file in files)

    # what must hold

    def starts(self, task: str) -> int:
        """How often the user's code was started."""
        return len(self._mark(task, ".starts"))

    def judge(self, seen: dict[str, Any], killed: Sequence[str] = (), promised: str = COMPLETED) -> list[str]:
        """What is wrong with a task that came to its end, when these were killed on the way.

        ``promised`` are its status and the beginning of the reason.
        """
        task, wrong, starts = seen["id"], [], self.starts(seen["id"])
        end = f"{seen['status']}: {seen['status_reason']}"
        if starts > 1 or (not starts and seen["status"] == "completed"):
            wrong.append(f"the user's code was started {starts} times")
        if not end.startswith(promised) and not _is_excused(end, starts, killed):
            wrong.append(f"{end} (the user's code was started {starts} times)")
        lines = self.wrong_lines(task)
        return [*wrong, lines] if lines else wrong

    def printing(self, task: str) -> None:
        """Wait until the task has printed something."""

        def printed() -> bool:
            self.supervise()
            return len(self._mark(task, ".lines")) > 3

        until(printed, _PATIENCE)

    def _mark(self, task: str, name: str) -> list[str]:
        file = self.folder / "marks" / f"{task}{name}"
        return file.read_text().splitlines() if file.exists() else []

    def wrong_lines(self, task: str) -> str:
        """What is wrong with the console of ``task``, empty when each printed line is there once and in order."""
        console = self.agent.console(task)
        shown = re.findall(r"^line \d+$", console, re.MULTILINE)
        printed = self._mark(task, ".lines")
        # the process may have been killed between printing a line and noting that it did
        if shown not in (printed, [*printed, f"line {len(printed)}"]):
            return f"{len(printed)} lines printed, {len(shown)} shown: {_first_difference(printed, shown)}"
        for text in ("Executing task id", "Starting Task Execution:", "Process "):
            times = len(re.findall(f"^{text}", console, re.MULTILINE))
            if times > 1:
                return f'"{text}" is shown {times} times'
        return ""

    def processes(self) -> list[psutil.Process]:
        """All processes of this yard: the daemon and what came of it."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("CRASH_DIR") == str(self.crash):
                    found.append(process)
        return found

    def leaked(self) -> list[str]:
        """Processes that are neither the daemon nor its nursery."""
        daemon = self._child.pid if self._child is not None else 0
        strangers = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.pid != daemon and not (process.name() == "clearml-nursery" and process.ppid() == daemon):
                    mark = process.environ().get(RUN_MARK, "")
                    strangers.append(f"{process.pid} {process.name()} {' '.join(process.cmdline())[-200:]} {mark}")
        return strangers

    def left_files(self) -> list[str]:
        """Files of the state folder that should have gone or are readable by others."""
        state = self.agent.state
        left = [str(path) for path in state.glob("runs/*")]
        left += [str(path) for path in state.glob("runs/.*")]
        left += [str(path) for path in state.glob("workers/*/.*")] + [str(path) for path in state.glob(".*")]
        for folder, below, names in os.walk(state):
            if "code" in below:
                below.remove("code")  # the user's own, in a private folder
            for path in (Path(folder), *(Path(folder, name) for name in names)):
                with contextlib.suppress(FileNotFoundError):
                    mode = path.lstat().st_mode
                    if mode & 0o077 and not stat.S_ISLNK(mode):
                        left.append(f"{path} has mode {mode & 0o777:o}")
        return left

    def _clear_interrupted(self) -> None:
        """Have the agent's own housekeeping clear away what it says is cleared in an hour: half-written files, and
        runs that were never written down.
        """
        state = self.agent.state
        half = any(name.startswith(".") for _, _, names in os.walk(state) for name in names)
        if half or any(not (path / "job.json").exists() for path in state.glob("runs/*")):
            Housekeeping(state, ages=Ages(interrupted=0.5)).step(0.0)

    def settled(self) -> list[str]:
        """What is still wrong after the dust has settled; empty when all is as it must be."""
        wrong: list[str] = []

        def clean() -> bool:
            self.supervise()
            self._clear_interrupted()
            wrong[:] = [*(f"leaked process: {word}" for word in self.leaked()), *self.left_files()]
            return not wrong

        with contextlib.suppress(AssertionError):
            until(clean, 5.0)
        return wrong


def _is_excused(end: str, starts: int, killed: Sequence[str]) -> bool:
    """Whether a task may end like this although nothing is wrong with it: its runner died before the user's code ran,
    or the only process that could learn its exit code did.
    """
    if "keeper" in killed:
        return end.startswith("failed: ")
    return not starts and "runner" in killed and end.startswith("failed: runner lost: ")


def _first_difference(printed: Sequence[str], shown: Sequence[str]) -> str:
    for number, line in enumerate(printed):
        if number >= len(shown) or shown[number] != line:
            return f"at {number}: {shown[max(0, number - 1) : number + 3]}"
    return f"more than printed: {shown[len(printed) :][:5]}"


def wait(seconds: float) -> None:
    """Real time has to pass here: the point is about it."""
    time.sleep(seconds)
