"""The user's process while it runs: wait for it, learn how it ended, end it with all that it started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable

import attrs

from clearml_agent_clone.launch.ending import end_all
from clearml_agent_clone.launch.family import Family
from clearml_agent_clone.launch.last_words import exit_code_of
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.launch.processes import ProcessId, adopt_orphans, send, wait_exit, wait_readable

_KEEPER_PATIENCE = 10.0
_REAPER_PATIENCE = 1.0
_LOOK = 0.001


@attrs.frozen
class Manner:
    """How processes are ended: the ``first`` signal, ``grace`` seconds to answer it, then SIGKILL."""

    grace: float = 0.0
    first: int = signal.SIGTERM


def never() -> bool:
    """Somebody who has all the patience."""
    return False


@attrs.define(eq=False)
class Running:
    """The user's process and its family, whether this runner started it or found it.

    ``child`` is set when the process was started without a keeper.
    """

    main: ProcessId
    family: Family
    place: Place
    child: subprocess.Popen[bytes] | None = None
    _handle: int = attrs.field(default=-1, init=False)  # a pidfd; as long as it is open the kernel remembers the end

    def __attrs_post_init__(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(self.main.pid)
            if self.main.there:
                self._handle = handle
            else:
                os.close(handle)

    def ended(self, timeout: float | None = None, wake: int | None = None) -> bool:
        """Wait for the end; False when ``timeout`` seconds passed or ``wake`` became readable first."""
        return self._handle < 0 or wait_readable(self._handle, timeout, wake)

    def exit_code(self) -> int | None:
        """How the process ended (negative: by that signal), None when nobody knows. Call it after the end."""
        if self.child is not None:
            return self.child.wait()
        deadline = time.monotonic() + _KEEPER_PATIENCE
        while (code := self.place.exit_code()) is None and time.monotonic() < deadline:
            keeper = self.family.keeper
            if keeper is None or not keeper.alive:
                code = self.place.exit_code()
                return self._code_without_keeper() if code is None else code
            send(keeper.pid, signal.SIGCONT)  # somebody may have stopped it
            time.sleep(_LOOK)
        return code

    def why(self) -> str:
        """What is known of the end beyond the exit code; call it after that."""
        return ""

    def stop(self, manner: Manner, hurried: Callable[[], bool] = never) -> list[int]:
        """End the process and every one of its family; returns those that would not die."""
        return end_family(self.family, manner, hurried)

    def sweep(self) -> list[int]:
        """End what the process left behind when it exited."""
        return self.stop(Manner())

    def settle(self) -> None:
        """All is over: see the keeper off and give back what the run had of the system."""
        if self.child is not None:
            self.child.poll()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        if self.family.heir:
            adopt_orphans(wanted=False)
            self.family.bury()
        disband(self.family)

    def _code_without_keeper(self) -> int | None:
        if self.family.heir:
            with contextlib.suppress(ChildProcessError):
                return os.waitstatus_to_exitcode(os.waitpid(self.main.pid, 0)[1])
        if self._handle < 0:
            return None
        deadline = time.monotonic() + _REAPER_PATIENCE
        while (code := exit_code_of(self._handle)) is None and time.monotonic() < deadline:
            time.sleep(_LOOK)  # whoever has it as a child now will wait for it in a moment
        return code


def end_family(family: Family, manner: Manner, hurried: Callable[[], bool] = never) -> list[int]:
    """End the processes of a run; returns those that would not die."""
    return end_all(
        family.members,
        manner.grace,
        signal_first=manner.first,
        hurried=hurried,
        kill_whole=family.kill,
    )


def disband(family: Family) -> None:
    """See the keeper off, which ends by itself when it has nothing to keep, and remove the control group."""
    keeper = family.keeper
    if keeper is not None and keeper.alive:
        send(keeper.pid, signal.SIGCONT)
        if not wait_exit(keeper.pid, _REAPER_PATIENCE) and not family.members():
            send(keeper.pid)
            wait_exit(keeper.pid, _REAPER_PATIENCE)
    if keeper is not None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(keeper.pid, os.WNOHANG)
    if family.cgroup is not None:
        family.cgroup.remove()
