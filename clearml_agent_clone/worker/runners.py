"""The runners of one daemon: start them, find them again after a restart, notice when they end."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import Retryable
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import private_dir, read_json
from clearml_agent_clone.worker.housekeeping import is_kept, mark_kept
from clearml_agent_clone.worker.nursery import Nursery
from clearml_agent_clone.worker.stopmode import StopMode

log = logging.getLogger(__name__)

SIGNALS = {StopMode.STOP: signal.SIGTERM, StopMode.NOW: signal.SIGQUIT}
"""What a runner understands: end the task gracefully, or without grace. It reports the task's status either way."""

_PREFIX = re.compile(r"\d{4}-\S+ [A-Z]+ +\S+ (?:\[\S+\] )?")  # time, level, module and loop
_TRY_AGAIN = 5.0
_UNTIL_NAMED = 2.0


class StartFailed(Exception):  # noqa: N818 - what happened
    """A job is written down, but no runner could be started for it."""

    def __init__(self, folder: RunFolder, error: OSError) -> None:
        super().__init__(f"no runner could be started: {error.strerror or error}")
        self.folder = folder


@attrs.frozen
class ActiveRun:
    """A runner that lives.

    ``child`` is None when it is no child of ours. ``successor``: it is not the first runner of its run. ``foreign``:
    the run was another daemon's, and takes no slot of ours.
    """

    job: Job
    folder: RunFolder
    process: ProcessId
    child: subprocess.Popen[bytes] | None = attrs.field(default=None, eq=False)
    successor: bool = False
    foreign: bool = False

    @property
    def journal(self) -> Journal:
        """How far the run has come."""
        return Journal.open(self.folder.state_file)

    @property
    def last_words(self) -> str:
        """The last line of the runner's own log."""
        try:
            lines = self.folder.log_file.read_text(errors="replace").splitlines()
        except OSError:
            return ""
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return _PREFIX.sub("", last)

    def signal(self, number: int) -> None:
        """Send the runner a signal, if it still lives."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.alive:
                os.kill(self.process.pid, number)


@attrs.frozen
class _Unstarted:
    """A run that has to get a runner; ``not_before`` is monotonic seconds."""

    job: Job
    folder: RunFolder
    foreign: bool
    not_before: float = 0.0


class Runners:
    """Keeps count of the runners; the slots that they take are those of the daemon.

    Args:
        runs: folder of all runs.
        nursery: starts them.
        on_change: called (from any thread) when a runner starts or ends.
        keep: leave the folders of finished runs for inspection.
    """

    def __init__(self, runs: Path, nursery: Nursery, on_change: Callable[[], None], *, keep: bool = False) -> None:
        self._runs = private_dir(runs)
        self._nursery = nursery
        self._on_change = on_change
        self._keep = keep
        self._active: dict[str, ActiveRun] = {}
        self._unstarted: dict[str, _Unstarted] = {}
        self._unsettled: dict[str, ActiveRun] = {}
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)

    @property
    def active(self) -> list[ActiveRun]:
        """The runners that live now, oldest first."""
        with self._lock:
            return list(self._active.values())

    @property
    def own(self) -> list[ActiveRun]:
        """Those of them that take a slot."""
        return [run for run in self.active if not run.foreign]

    @property
    def taken(self) -> int:
        """How many slots are taken: by runners, by runs that have to get one, and by those of which it is not decided."""
        with self._lock:
            own = {name for name, run in {**self._active, **self._unsettled}.items() if not run.foreign}
            own |= {name for name, waiting in self._unstarted.items() if not waiting.foreign}
            return len(own)

    def folders(self) -> Iterator[tuple[Job, RunFolder]]:
        """All runs of this machine's user, of whichever agent, the oldest first.

        Raises:
            Retryable: the folder cannot be read.
        """
        try:
            paths = sorted(self._runs.iterdir())
        except OSError as error:
            raise Retryable(f"{self._runs} cannot be read: {error.strerror or error}") from error
        for path in paths:
            folder = RunFolder(path)
            job = None if path.name.startswith(".") else Job.from_record(read_json(path / "job.json"))
            if job is not None:
                yield job, folder

    def start(self, job: Job) -> ActiveRun:
        """Write the job down, then start a runner for it in a session of its own.

        Raises:
            StartFailed: it is written down and has no runner.
            AgentError, OSError: it is not written down.
        """
        try:
            folder = RunFolder.create(self._runs, job)
        except BaseException:
            shutil.rmtree(self._runs / job.run_id, ignore_errors=True)
            raise
        try:
            return self._spawn(job, folder)
        except OSError as error:
            raise StartFailed(folder, error) from error

    def take_up(self, job: Job, folder: RunFolder, *, foreign: bool = False) -> ActiveRun | None:
        """Take over a run that an earlier daemon has left: a living runner as it is, an unfinished run by a new runner
        on the same folder, which brings it to its end. None when it has come to its end, or no runner can be started
        now; that is tried again by ``reap``.
        """
        process = _living(folder)
        if process is not None:
            run = ActiveRun(job, folder, process, foreign=foreign)
            self._add(run)
            return run
        if Journal.open(folder.state_file).state is State.DONE:
            self.discard(folder)
            return None
        return self._succeed(job, folder, foreign=foreign)

    def wake(self) -> None:
        """Make ``reap`` return now. May be called from a signal handler."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full of earlier calls
            os.write(self._wake_write, b"x")

    def reap(self, timeout: float | None) -> list[ActiveRun]:
        """Wait until a runner ends, ``wake`` is called or ``timeout`` seconds are over; returns those that ended.

        They keep their slots until ``settled`` is called: a run whose runner died gets another one.
        """
        with self._lock:
            unstarted = list(self._unstarted.values())
        for waiting in unstarted:
            if waiting.not_before <= time.monotonic():
                self._succeed(waiting.job, waiting.folder, foreign=waiting.foreign)
        if self._unstarted:
            timeout = _TRY_AGAIN if timeout is None else min(timeout, _TRY_AGAIN)
        ended = self._wait(timeout)
        for run in ended:
            self._remove(run)
        return ended

    def settled(self, run: ActiveRun) -> None:
        """It is decided what becomes of a run that ``reap`` returned; its slot is free unless it has a runner again."""
        with self._lock:
            self._unsettled.pop(run.job.run_id, None)
        self._on_change()

    def restart(self, run: ActiveRun, pause: float = 0.0) -> None:
        """Start a new runner on the folder of one that died, if need be after ``pause`` seconds; it brings the run to its
        end.
        """
        if pause > 0:
            with self._lock:
                self._unstarted[run.job.run_id] = _Unstarted(run.job, run.folder, run.foreign, time.monotonic() + pause)
            self.wake()
        else:
            self._succeed(run.job, run.folder, foreign=run.foreign)

    def discard(self, folder: RunFolder) -> None:
        """Delete a run's folder in the background: a big checkout takes its time."""
        if self._keep:
            mark_kept(folder)
        if is_kept(folder):
            return  # for inspection, until housekeeping finds it old
        doomed = folder.path.with_name(f".gone-{folder.path.name}-{time.monotonic_ns()}")
        try:
            folder.path.rename(doomed)
        except OSError as error:  # another daemon was faster, or the disk has become read-only: it is found again
            log.debug("%s stays: %s", folder.path, error)
            return
        threading.Thread(target=shutil.rmtree, args=(doomed, True), daemon=True).start()

    def _wait(self, timeout: float | None) -> list[ActiveRun]:
        handles: dict[int, ActiveRun] = {}
        poller = select.poll()
        poller.register(self._wake_read, select.POLLIN)
        ended = []
        try:
            for run in self.active:
                try:
                    handle = os.pidfd_open(run.process.pid)
                except ProcessLookupError:
                    ended.append(run)
                    continue
                handles[handle] = run
                poller.register(handle, select.POLLIN)
                if run.child is None and not run.process.alive:
                    ended.append(run)  # its number is somebody else's already
            for handle, _ in poller.poll(0 if ended else None if timeout is None else timeout * 1000):
                if handle == self._wake_read:
                    os.read(self._wake_read, 4096)
                elif handles[handle] not in ended:
                    ended.append(handles[handle])
        finally:
            for handle in handles:
                os.close(handle)
        return ended

    def _succeed(self, job: Job, folder: RunFolder, *, foreign: bool) -> ActiveRun | None:
        try:
            run = self._spawn(job, folder, successor=True, foreign=foreign)
        except OSError as error:
            with self._lock:
                again = job.run_id in self._unstarted
                self._unstarted[job.run_id] = _Unstarted(job, folder, foreign)
            log.log(
                logging.DEBUG if again else logging.ERROR,
                "no runner can be started to end task %s: %s; it is tried again",
                job.task_id,
                error,
            )
            return None
        return run

    def _spawn(self, job: Job, folder: RunFolder, *, successor: bool = False, foreign: bool = False) -> ActiveRun:
        born = self._nursery.start(folder.path)
        run = ActiveRun(job, folder, born.process, born.child, successor, foreign)
        self._add(run)
        return run

    def _add(self, run: ActiveRun) -> None:
        with self._lock:
            self._unstarted.pop(run.job.run_id, None)
            self._active[run.job.run_id] = run
        self.wake()
        self._on_change()

    def _remove(self, run: ActiveRun) -> None:
        if run.child is not None:
            run.child.wait()
        with self._lock:
            self._active.pop(run.job.run_id, None)
            self._unsettled[run.job.run_id] = run


def _living(folder: RunFolder) -> ProcessId | None:
    """The runner of a folder. One that holds the folder and has not yet written down who it is, is waited for."""
    deadline = time.monotonic() + _UNTIL_NAMED
    while True:
        process = folder.process("runner")
        if process is not None and process.alive:
            return process
        if not folder.held or time.monotonic() > deadline:
            return None
        time.sleep(0.02)


def sweep_leftovers(runs: Path) -> None:
    """Delete what a daemon that was killed while deleting has left."""
    for doomed in runs.glob(".gone-*"):
        shutil.rmtree(doomed, ignore_errors=True)
