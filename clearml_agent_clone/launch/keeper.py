"""A small process between the runner and the user's process. It outlives the runner, and so does what it knows.

Only a parent learns how its child ended, and only the nearest ancestor that asked for them gets orphans. A runner may
be killed; then its successor is no ancestor at all. So the runner forks a keeper before it has any thread, and the
keeper starts the user's process when it is told to, collects its orphans, and writes its exit code into a file of the
run's folder. It answers no signal but SIGKILL and ends by itself when the last process below it has.

It costs a fork (four milliseconds on a virtual machine; the pages are shared with the runner) at the runner's start.
Starting the process takes no longer than without it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import subprocess
import warnings
from pathlib import Path
from typing import Any, NoReturn

import attrs

from clearml_agent_clone.errors import AgentError, UserError
from clearml_agent_clone.launch.cgroups import Cgroup
from clearml_agent_clone.launch.place import Place, write_slot
from clearml_agent_clone.launch.plan import LaunchPlan
from clearml_agent_clone.launch.processes import ProcessId, adopt_orphans, wait_exit
from clearml_agent_clone.util.files import write_json

_HEADER = 8
_LONGEST_ANSWER = 8192
_LEAVE_PATIENCE = 1.0
_MOST_HELD = 16


class KeeperGone(Exception):  # noqa: N818 - named by what happened
    """The keeper was killed before it said that it started the user's process."""


@attrs.define
class Keeper:
    """The runner's end of a keeper that waits for its order."""

    process: ProcessId
    _line: socket.socket

    def launch(
        self, plan: LaunchPlan, output: int, held: tuple[int, ...], stdin: int | None = None
    ) -> tuple[ProcessId, str]:
        """Have the user's process started, see ``Launcher.start``; may be called once.

        Returns:
            The process, and the path of its control group, empty without one.

        Raises:
            KeeperGone: there is no keeper any more; whether it started the process is not known.
            UserError: the program does not exist or may not be run.
        """
        order = {"argv": plan.argv, "cwd": str(plan.cwd), "env": dict(plan.env), "stdin": stdin is not None}
        data = json.dumps(order).encode()
        try:
            with self._line as line:
                socket.send_fds(
                    line, [len(data).to_bytes(_HEADER, "big")], [output, *(() if stdin is None else (stdin,)), *held]
                )
                line.sendall(data)
                answer = json.loads(_receive(line, _LONGEST_ANSWER))
        except (OSError, ValueError) as error:
            raise KeeperGone from error
        if "error" in answer:
            raise start_failed(plan, answer["error"])
        return ProcessId(answer["pid"], answer["started"], answer["boot"]), answer["cgroup"]

    def dismiss(self) -> None:
        """There is nothing to start: the keeper ends, or sees to it that what it has started already does not hide."""
        self._line.close()
        wait_exit(self.process.pid, _LEAVE_PATIENCE)


def start_failed(plan: LaunchPlan, why: str | None) -> UserError:
    """The error of a program that cannot be started."""
    return UserError(
        f'cannot start "{plan.argv[0]}" in {plan.cwd}: {why}',
        remedy="Check script.binary and script.working_dir of the task",
        code="start-failed",
    )


def start_keeper(place: Place, run_id: str) -> Keeper | None:
    """Fork a keeper; only while this process has one thread. None where the system has no room for another process.

    The keeper makes the files of ``place`` and the run's control group, and enters it, so that all that it starts is
    born there: that takes time, in which the runner can do something else.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of Python 3.12, should there be a thread after all
            pid = os.fork()
    except OSError:
        ours.close()
        return None
    else:
        if pid == 0:
            _keep(theirs, place, run_id)
    finally:
        theirs.close()
    return Keeper(ProcessId.of(pid) or ProcessId(pid, 0.0, ""), ours)


def _keep(line: socket.socket, place: Place, run_id: str) -> NoReturn:
    """What the keeper does; never returns into the runner's code."""
    try:
        gc.disable()  # the collector's marks would un-share the pages that the fork shares
        os.setsid()
        _detach({line.fileno()})
        adopt_orphans()
        user_file, exit_file = place.user_file.create(), place.exit_file.create()
        cgroup = Cgroup.create(run_id)
        group = str(cgroup.path) if cgroup is not None and cgroup.enter() else ""
        own = ProcessId.of(os.getpid())
        if own is not None:
            with contextlib.suppress(AgentError):  # a full disk: who comes after us has the other marks to go by
                write_json(place.keeper_file, {**own.to_record(), "cgroup": group}, durable=False)
        main = _obey(line, user_file, group)
        line.close()
        os.close(user_file)
        if main is not None:
            _collect(main, exit_file)
    except BaseException:  # noqa: BLE001,S110 - nobody is there to be told, and it must not run on in the runner's code
        pass
    finally:
        os._exit(0)


def _detach(kept: set[int]) -> None:
    """Hold nothing of the runner's open, be deaf to signals, be known by name."""
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    for number in [int(name) for name in os.listdir("/proc/self/fd")]:  # noqa: PTH208 - names only
        if number > 2 and number not in kept:
            with contextlib.suppress(OSError):
                os.close(number)
    signal.set_wakeup_fd(-1)
    for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        # a handler, because it ends with exec: the user's process must find every signal as the runner would leave it
        if signal.getsignal(number) not in {signal.SIG_IGN, None} and number not in _FAULTS:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, _deaf)
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text("clearml-keeper")


_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS}


def _deaf(number: int, frame: object) -> None:
    del number, frame


def _obey(line: socket.socket, user_file: int, group: str) -> int | None:
    """Wait for the order and start the user's process; None when there came none, or it cannot be started."""
    header, descriptors, _, _ = socket.recv_fds(line, _HEADER, _MOST_HELD)
    if len(header) < _HEADER:
        return None
    order = json.loads(_receive(line, int.from_bytes(header, "big")))
    try:
        pid = _start(order, descriptors)
    except OSError as error:
        _answer(line, {"error": error.strerror or str(error)})
        return None
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    record = (ProcessId.of(pid) or ProcessId(pid, 0.0, "")).to_record()
    write_slot(user_file, json.dumps(record))
    _answer(line, {**record, "cgroup": group})
    return pid


def _start(order: dict[str, Any], descriptors: list[int]) -> int:
    output, *held = descriptors
    stdin = held.pop(0) if order["stdin"] else subprocess.DEVNULL
    child = subprocess.Popen(
        order["argv"],
        cwd=order["cwd"],
        env=order["env"],
        stdin=stdin,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=held,
    )
    child.returncode = 0  # it is waited for below, not by the object's own clean-up
    return child.pid


def _collect(main: int, exit_file: int) -> None:
    """Wait for the user's process and for every orphan below it."""
    while True:
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return
        if pid == main:
            write_slot(exit_file, str(os.waitstatus_to_exitcode(status)))


def _answer(line: socket.socket, answer: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the runner is gone; its successor reads the files
        line.sendall(json.dumps(answer).encode())


def _receive(line: socket.socket, most: int) -> bytes:
    """``most`` bytes, or what comes until the other side closes."""
    data = bytearray()
    while len(data) < most and (piece := line.recv(min(most - len(data), 1 << 20))):
        data += piece
    return bytes(data)
