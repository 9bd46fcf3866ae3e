"""Clear away what interrupted work has left in the state folder, and what has been kept for long enough.

Nothing that somebody uses is touched: locks are held while a folder goes, and an age protects what is just being made.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.config.cache import is_stale
from clearml_agent_clone.logs.raw_output import bound_raw_output
from clearml_agent_clone.runner.job import RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.util.files import read_json, slug
from clearml_agent_clone.worker.registry import live_workers

log = logging.getLogger(__name__)

INTERVAL = 3600.0
KEPT_FILE = "kept"
"""A run's folder with this file in it has been kept for inspection (``--debug``)."""

_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}")  # what write_atomic makes
_DAY = 86400.0


@attrs.frozen
class Ages:
    """Seconds after which something is cleared away.

    Attributes:
        interrupted: a half-written file, a run that was never written down, one that is over and was not removed.
        kept: the folder of a run that was kept for inspection.
        worker: the folder of a worker id that nobody uses any more.
        config: a parsed configuration file whose original is gone.
        logs: the log of an agent that does not run any more.
    """

    interrupted: float = 3600.0
    kept: float = 7 * _DAY
    worker: float = 7 * _DAY
    config: float = _DAY
    logs: float = 30 * _DAY


def mark_kept(folder: RunFolder) -> None:
    """Let a run's folder stay for inspection, until it is old."""
    with contextlib.suppress(OSError):  # a full disk: it will go sooner
        os.close(os.open(folder.path / KEPT_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def is_kept(folder: RunFolder) -> bool:
    """Whether ``mark_kept`` was called."""
    return (folder.path / KEPT_FILE).exists()


class Housekeeping:
    """Looks once an hour, and at the start.

    Args:
        state_dir: the state folder.
        ages: when what goes.
        clock: Unix seconds.
    """

    name = "housekeeping"

    def __init__(
        self,
        state_dir: Path,
        *,
        ages: Ages | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state_dir = state_dir
        self._ages = ages or Ages()
        self._clock = clock

    def step(self, now: float) -> float:
        """Look once."""
        del now
        duties = (self._temporaries, self._runs, self._workers, self._configs, self._logs)
        gone = [path for duty in duties for path in duty()]
        if gone:
            log.info("cleared away %d files and folders that nobody uses any more", len(gone))
            log.debug("cleared away: %s", ", ".join(map(str, gone)))
        for file in (self._state_dir / "logs").glob("*.out"):
            bound_raw_output(file)
        return INTERVAL

    def _old(self, path: Path, age: float) -> bool:
        """Whether nothing has happened to ``path`` for ``age`` seconds; what is gone is not old."""
        try:
            return self._clock() - path.lstat().st_mtime > age
        except OSError:
            return False

    def _temporaries(self) -> Iterator[Path]:
        state = self._state_dir
        below = ("workers/*", "runs/*", "runs/*/logs", "config-cache", "logs")
        for folder in (state, *(found for pattern in below for found in state.glob(pattern))):
            for path in _entries(folder):
                if _TEMPORARY.fullmatch(path.name) and _is_file(path) and self._old(path, self._ages.interrupted):
                    yield from _unlinked(path)

    def _runs(self) -> Iterator[Path]:
        for path in _entries(self._state_dir / "runs"):
            if path.name.startswith(".gone-"):
                shutil.rmtree(path, ignore_errors=True)
                yield path
            elif not path.name.startswith(".") and path.is_dir() and self._run_is_left(RunFolder(path)):
                yield from _removed(RunFolder(path))

    def _run_is_left(self, folder: RunFolder) -> bool:
        job, state = folder.path / "job.json", folder.state_file
        if not job.exists():  # the job is written before anything else is done: there never was a run
            return self._old(folder.path, self._ages.interrupted)
        if Journal.open(state).state is not State.DONE:
            return False
        by_hand = not (read_json(job) or {}).get("owner_id")
        return self._old(state, self._ages.kept if by_hand or is_kept(folder) else self._ages.interrupted)

    def _workers(self) -> Iterator[Path]:
        owners = {
            slug(str((read_json(path / "job.json") or {}).get("owner_id", "")))
            for path in _entries(self._state_dir / "runs")
        }
        for folder in _entries(self._state_dir / "workers"):
            files = _entries(folder)
            if folder.name not in owners and files and all(self._old(file, self._ages.worker) for file in files):
                yield from _retired(folder)

    def _configs(self) -> Iterator[Path]:
        for path in _entries(self._state_dir / "config-cache"):
            if self._old(path, self._ages.config) and is_stale(path):
                yield from _unlinked(path)

    def _logs(self) -> Iterator[Path]:
        living = tuple(f"daemon-{slug(worker.worker_id)}." for worker in live_workers(self._state_dir))
        for path in _entries(self._state_dir / "logs"):
            of_a_start = path.name.startswith("daemon-start-")
            age = _DAY if of_a_start else self._ages.logs
            if not path.name.startswith(living) and _is_file(path) and self._old(path, age):
                yield from _unlinked(path)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # it is gone, or is no folder
        return []


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _unlinked(path: Path) -> Iterator[Path]:
    try:
        path.unlink()
    except OSError as error:
        log.debug("%s stays: %s", path, error)
    else:
        yield path


def _removed(folder: RunFolder) -> Iterator[Path]:
    """Remove a run's folder, unless it has a runner after all."""
    try:
        lock = folder.hold()
    except OSError:
        return
    if lock is None:
        return
    try:
        doomed = folder.path.with_name(f".gone-{folder.path.name}-{time.monotonic_ns()}")
        folder.path.rename(doomed)
    except OSError as error:
        log.debug("%s stays: %s", folder.path, error)
        return
    finally:
        os.close(lock)
    shutil.rmtree(doomed, ignore_errors=True)
    yield folder.path


def _retired(folder: Path) -> Iterator[Path]:
    """Remove a worker's folder while we hold its lock, the lock last: who waits for it sees that its file is gone."""
    lock_file = folder / "lock"
    try:
        lock = os.open(lock_file, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT, 0o600)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in _entries(folder):
            if path != lock_file:
                path.unlink()
        lock_file.unlink()
        folder.rmdir()
    except OSError as error:  # somebody works under this id, or has put a folder here
        log.debug("%s stays: %s", folder, error)
        return
    finally:
        os.close(lock)
    yield folder
