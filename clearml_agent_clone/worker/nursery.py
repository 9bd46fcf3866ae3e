"""A process that has imported all that a runner needs, and becomes one by a fork.

Starting Python and importing the runner takes longer than everything else that happens between the queue and the
user's first line. The nursery does it once: it is forked from the daemon before there is any thread or connection,
waits on a socket, and forks a runner for each folder that it is told. It ends when the daemon does, however that
ends; its runners have sessions of their own and stay.
"""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, final

import attrs

from clearml_agent_clone.launch.processes import ProcessId

log = logging.getLogger(__name__)

_LONGEST_PATH = 8192
_PATIENCE = 5.0
_STOPPING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})
"""Blocked in a runner until it can obey them: one that is told to stop while it is being born must not die of it."""
_HIGHEST_DESCRIPTOR = 256  # nothing that early in a daemon's life has a higher one


@attrs.frozen
class Born:
    """A runner that was started; ``child`` is set when it is a child of ours, to be waited for."""

    process: ProcessId
    child: subprocess.Popen[bytes] | None = None


@final
class Nursery:
    """Starts runners. Without its process (never opened, or killed) it starts them as programs, which takes longer."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def open(self, become: Callable[[Path], int]) -> None:
        """Fork the nursery. Only before threads are started and files or connections opened that are not to be shared.

        Args:
            become: what a runner does with its folder; returns its exit code.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        gc.collect()
        gc.freeze()  # the collector's marks would un-share the pages that the fork shares
        if os.fork() == 0:
            ours.close()
            _nurse(theirs, become)
        theirs.close()
        ours.settimeout(_PATIENCE)
        self._socket = ours

    def start(self, folder: Path) -> Born:
        """Start the runner of ``folder`` in a session of its own, its words in ``runner.log`` there.

        Raises:
            OSError: the system has no room for another process.
        """
        with self._lock:
            process = self._fork(folder)
        return Born(process) if process is not None else _start_program(folder)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the nursery; runners stay."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _fork(self, folder: Path) -> ProcessId | None:
        if self._socket is None:
            return None
        try:
            self._socket.send(os.fsencode(folder))
            pid = int(self._socket.recv(64))
        except (OSError, ValueError) as error:
            log.warning("the nursery is gone (%s); runners start as programs from now on", error)
            self.close()
            return None
        if pid < 0:
            raise OSError(-pid, os.strerror(-pid))
        return ProcessId.of(pid) or ProcessId(pid, 0.0, "")


def _start_program(folder: Path) -> Born:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        with (folder / "runner.log").open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "clearml_agent_clone.runner", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Born(ProcessId.of(child.pid) or ProcessId(child.pid, 0.0, ""), child)


def _nurse(line: socket.socket, become: Callable[[Path], int]) -> NoReturn:
    """Wait for folders and fork; never returns into the daemon's code."""
    try:
        os.setsid()  # a Ctrl-C at the daemon's terminal is not for us
        os.closerange(3, line.fileno())
        os.closerange(line.fileno() + 1, _HIGHEST_DESCRIPTOR)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps our runners
        _name("clearml-nursery")
        while True:
            folder = line.recv(_LONGEST_PATH)
            if not folder:
                break
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
            try:
                pid = os.fork()
            except OSError as error:  # no memory or no pid now; that is no reason for us to end
                pid = -(error.errno or errno.EAGAIN)
            if pid == 0:
                line.close()
                _live(Path(os.fsdecode(folder)), become)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            line.send(str(pid).encode())
    except OSError:
        pass  # the daemon is gone; nobody is left to tell
    finally:
        os._exit(0)


def _live(folder: Path, become: Callable[[Path], int]) -> NoReturn:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _name("clearml-runner")
        _redirect(folder / "runner.log")
        gc.unfreeze()
        code = become(folder)
    except BaseException:  # noqa: BLE001 - whatever it is, it must not run on in code that belongs to the daemon
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(log_file: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)


def _name(name: str) -> None:
    """What ``ps`` and ``top`` show, as far as Linux lets a process say it."""
    try:
        Path("/proc/self/comm").write_text(name)
    except OSError:
        log.debug("process name not set")
