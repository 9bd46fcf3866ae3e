"""The runners of one daemon: start them, find them again after a restart, notice when they end."""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import private_dir, read_json
from clearml_agent_clone.worker.nursery import Nursery

log = logging.getLogger(__name__)


@attrs.frozen
class ActiveRun:
    """A runner that lives. ``child`` is None when an earlier daemon started it."""

    job: Job
    folder: RunFolder
    process: ProcessId
    child: subprocess.Popen[bytes] | None = attrs.field(default=None, eq=False)

    @property
    def journal(self) -> Journal:
        """How far the run has come."""
        return Journal.open(self.folder.state_file)

    @property
    def last_words(self) -> str:
        """The last line of the runner's own log."""
        try:
            lines = (self.folder.path / "runner.log").read_text(errors="replace").splitlines()
        except OSError:
            return ""
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return last.partition(": ")[2] or last  # without time, level and module


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
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()

    @property
    def active(self) -> list[ActiveRun]:
        """The runners that live now, oldest first."""
        with self._lock:
            return list(self._active.values())

    def start(self, job: Job) -> ActiveRun:
        """Write the job down, then start a runner for it in a session of its own."""
        return self._spawn(job, RunFolder.create(self._runs, job))

    def adopt(self, owner_id: str) -> list[ActiveRun]:
        """Take over what an earlier daemon of the same worker id left: living runners as they are, unfinished runs
        by a new runner on the same folder, which brings them to their end.
        """
        found = []
        for path in sorted(self._runs.iterdir()):
            folder = RunFolder(path)
            job = Job.from_record(read_json(path / "job.json"))
            if job is None or job.owner_id != owner_id:
                continue
            process = folder.process("runner")
            if process is not None and process.alive:
                run = ActiveRun(job, folder, process)
                self._add(run)
            elif Journal.open(folder.state_file).state is State.DONE:
                self._discard(folder)
                continue
            else:
                run = self._spawn(job, folder)
            log.info("adopted task %s (run %s)", job.task_id, job.run_id)
            found.append(run)
        return found

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask every runner to end its task gracefully."""
        for run in self.active:
            if run.process.alive:
                os.kill(run.process.pid, number)

    def wake(self) -> None:
        """Make ``reap`` return now. May be called from a signal handler."""
        os.write(self._wake_write, b"x")

    def reap(self, timeout: float | None) -> list[ActiveRun]:
        """Wait until a runner ends, ``wake`` is called or ``timeout`` seconds are over; returns those that ended."""
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
            ready = poller.poll(0 if ended else None if timeout is None else timeout * 1000)
            for handle, _ in ready:
                if handle == self._wake_read:
                    os.read(self._wake_read, 4096)
                else:
                    ended.append(handles[handle])
        finally:
            for handle in handles:
                os.close(handle)
        for run in ended:
            self._remove(run)
        return ended

    def restart(self, run: ActiveRun) -> None:
        """Start a new runner on the folder of one that died; it brings the run to its end."""
        self._spawn(run.job, run.folder)

    def discard(self, run: ActiveRun) -> None:
        """Delete a run's folder in the background: a big checkout takes its time."""
        self._discard(run.folder)

    def _spawn(self, job: Job, folder: RunFolder) -> ActiveRun:
        born = self._nursery.start(folder.path)
        run = ActiveRun(job, folder, born.process, born.child)
        self._add(run)
        return run

    def _add(self, run: ActiveRun) -> None:
        with self._lock:
            self._active[run.job.run_id] = run
        self.wake()
        self._on_change()

    def _remove(self, run: ActiveRun) -> None:
        if run.child is not None:
            run.child.wait()
        with self._lock:
            self._active.pop(run.job.run_id, None)
        self._on_change()

    def _discard(self, folder: RunFolder) -> None:
        if not self._keep:
            doomed = folder.path.with_name(f".gone-{folder.path.name}-{time.monotonic_ns()}")
            folder.path.rename(doomed)
            threading.Thread(target=shutil.rmtree, args=(doomed, True), daemon=True).start()


def sweep_leftovers(runs: Path) -> None:
    """Delete what a daemon that was killed while deleting has left."""
    for doomed in runs.glob(".gone-*"):
        shutil.rmtree(doomed, ignore_errors=True)
