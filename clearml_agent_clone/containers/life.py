"""The life of a task's container, for a runner that started it and for one that finds it.

On this machine stands the engine's program that started the container and waits for it (``docker start --attach``), as
child of the keeper like any task's process. It is what is waited for, and nothing depends on it: when it was killed,
another waits in its place, and how the task ended is asked of the engine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from clearml_agent_clone.containers.engine import CliEngine, ContainerEngine, ContainerState
from clearml_agent_clone.containers.names import RUN_LABEL
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.order import Order
from clearml_agent_clone.errors import AgentError, Retryable
from clearml_agent_clone.launch import local
from clearml_agent_clone.launch.local import Launcher
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.launch.plan import RUN_MARK, LaunchPlan
from clearml_agent_clone.launch.processes import wait_readable
from clearml_agent_clone.launch.running import Manner, Running, never
from clearml_agent_clone.util.files import read_json, write_json

log = logging.getLogger(__name__)

_RECORD = "container.json"
_LOOK = 0.1
_KILL_PATIENCE = 30.0
_KILL_AGAIN = 2.0
_AWAY_PAUSE = 1.0
_AWAY_PATIENCE = 30.0  # an engine that is restarted is back within seconds


def note_container(place: Place, container: str) -> None:
    """Write down which container the run has, before it is started."""
    write_json(place.folder / _RECORD, {"id": container})


def home_mark(state_dir: Path) -> str:
    """A word that no other agent's state folder has, kept in there."""
    path = state_dir / "home-id"
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(handle, secrets.token_hex(8).encode())
        os.close(handle)
    deadline = time.monotonic() + _LOOK
    while not (found := path.read_text()) and time.monotonic() < deadline:
        time.sleep(_LOOK / 10)  # somebody is just writing it
    return found


@attrs.define(eq=False)
class ContainerRunning(Running):
    """A task in a container.

    Attributes:
        engine: asked about it.
        container: its id.
    """

    engine: ContainerEngine = attrs.field(kw_only=True)
    container: str = attrs.field(kw_only=True)
    _last: ContainerState | None = attrs.field(default=None, init=False)
    _waiter: subprocess.Popen[bytes] | None = attrs.field(default=None, init=False)

    def ended(self, timeout: float | None = None, wake: int | None = None) -> bool:
        """See ``Running``. The engine's program may end before the container does, when somebody kills it."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while super().ended(_left(deadline), wake):
            if self._last is not None and not self._last.running:
                return True
            try:
                state = self.engine.inspect(self.container)
            except Retryable as error:
                log.warning("%s", error)
                if _pause(_AWAY_PAUSE, deadline, wake):
                    return False
                continue
            if state is None or not state.running:
                self._last = state or _vanished(self.container)
                return True
            if self._waiter is not None and _pause(_AWAY_PAUSE, deadline, wake):
                return False  # the waiter ended before the container: the engine is being restarted
            self._wait_anew()
        return False

    def exit_code(self) -> int | None:
        """See ``Running``."""
        if self._last is not None and self._last.exit_code is not None:
            return self._last.exit_code
        code = super().exit_code()  # it could not be started, or somebody removed it: the engine's program was told
        return 1 if code == 0 else code

    def why(self) -> str:
        """What the engine knows of the end that an exit code does not tell."""
        state = self._last
        if state is None:
            return ""
        if state.oom_killed:
            killed = state.exit_code == 137
            return f"{'' if killed else 'one of its processes was killed: '}out of memory, the container's limit"
        return state.error

    def stop(self, manner: Manner, hurried: Callable[[], bool] = never) -> list[int]:
        """See ``Running``. All that is in a container ends with its first process."""
        if manner.grace > 0 and not self.ended(0):
            patiently(lambda: self.engine.signal(self.container, manner.first), hurried)
            deadline = time.monotonic() + manner.grace
            while time.monotonic() < deadline and not hurried() and not self.ended(_LOOK):
                pass
        deadline = time.monotonic() + _KILL_PATIENCE
        while not self.ended(0) and time.monotonic() < deadline:
            patiently(lambda: self.engine.kill(self.container))
            self.ended(_KILL_AGAIN)  # it may be just being started
        left = [] if self.ended(0) else self._survivor()
        return left + super().stop(Manner())

    def settle(self) -> None:
        """See ``Running``. The container is removed, and with it what it has written to its own disk."""
        if self._waiter is not None:
            self._waiter.kill()
            self._waiter.wait()
        super().settle()
        # what cannot be removed now is found by its label when an agent starts
        if patiently(lambda: self.engine.remove(self.container)):
            with contextlib.suppress(OSError):
                (self.place.folder / _RECORD).unlink()

    def _wait_anew(self) -> None:
        if self._waiter is not None:
            self._waiter.wait()
        else:
            log.warning("the program that waited for container %s has ended; waiting anew", self.container[:12])
        self._waiter = subprocess.Popen(
            self.engine.wait_argv(self.container),
            env={**self.engine.environment(), RUN_MARK: self.place.run_id},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = os.pidfd_open(self._waiter.pid)

    def _survivor(self) -> list[int]:
        try:
            state = self.engine.inspect(self.container)
        except Retryable:
            return []
        return [state.pid] if state is not None and state.running and state.pid else []


@attrs.frozen
class ContainerSite:
    """Where the containers of one run are found."""

    engine: ContainerEngine
    place: Place

    def start(self, launcher: Launcher, container: str, order: Order, output: int, held: tuple[int, ...]) -> Running:
        """Start a container that was made, see ``Launcher.start``."""
        plan = LaunchPlan(
            self.engine.start_argv(container),
            self.place.folder,
            {**self.engine.environment(), RUN_MARK: self.place.run_id},
        )
        stdin = order.open()
        try:
            return self._around(launcher.start(plan, output, held, stdin=stdin), container)
        finally:
            os.close(stdin)

    def find(self) -> Running | None:
        """The run's container that was started, whether it still runs or not; see ``local.find``."""
        found = local.find(self.place)
        container = self.container()
        if found is None or container is None:
            return None
        return self._around(found, container)

    def clear(self) -> list[int]:
        """End and remove all that is left of the run; see ``local.clear``."""
        for container in self._all():
            patiently(partial(self.engine.remove, container))
        return local.clear(self.place)

    def container(self) -> str | None:
        """The id that was written down."""
        record = read_json(self.place.folder / _RECORD)
        found = record.get("id") if isinstance(record, dict) else None
        return found if isinstance(found, str) and found else None

    def _all(self) -> set[str]:
        """By what was written down, and by label: whoever made one may have died before it could write."""
        known = self.container()
        found = {known} if known else set()
        patiently(lambda: found.update(self.engine.labelled({RUN_LABEL: self.place.run_id})))
        return found

    def _around(self, found: Running, container: str) -> ContainerRunning:
        return ContainerRunning(
            found.main, found.family, found.place, found.child, engine=self.engine, container=container
        )


def patiently(act: Callable[[], object], hurried: Callable[[], bool] = never) -> bool:
    """Ask the engine for something; whether it was done. One that is away is given some seconds to come back."""
    deadline = time.monotonic() + _AWAY_PATIENCE
    while True:
        try:
            act()
        except AgentError as error:  # noqa: PERF203 - it waits anyway
            if not isinstance(error, Retryable) or time.monotonic() > deadline or hurried():
                log.warning("%s", error)
                return False
            time.sleep(_AWAY_PAUSE)
        else:
            return True


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _pause(seconds: float, deadline: float | None, wake: int | None) -> bool:
    """Wait; whether the time of the caller is over, or ``wake`` became readable."""
    left = _left(deadline)
    wanted = seconds if left is None else min(seconds, left)
    if wake is not None and wait_readable(wake, wanted):
        return True
    if wake is None:
        time.sleep(wanted)
    return left is not None and left <= seconds


def _vanished(container: str) -> ContainerState:
    return ContainerState(container, "gone", running=False, exit_code=None, oom_killed=False, pid=0, error="removed")


def site_of(engine: str, place: Place) -> ContainerSite:
    """Where the containers of a run are; ``engine`` is ``docker`` or ``podman``."""
    return ContainerSite(CliEngine(Engine(engine)), place)
