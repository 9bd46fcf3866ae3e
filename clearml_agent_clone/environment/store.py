"""Environments that are kept, by what is in them, and shared by every agent of the machine.

One folder per environment::

    <root>/<key>.<random>/
        env/            the environment itself; it is built here and never moved, so that every path in it stays true
        lease           locked by everybody who uses it, and by its builder; its time is that of the last use
        files.json      what the files looked like when it was built (``guard.py``)
        installed.txt   what is in it
        meta.json       written last: without it the environment does not count
    <root>/<key>.lock   held by whoever builds this key, so that the work is done once

A process that dies, however it dies, leaves locks that the kernel drops. What a dead builder left has no
``meta.json`` and nobody holds its lease: the next builder of any key sweeps it away.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment.guard import changed_files, named, shared_among, take_snapshot
from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.util.boot import boot_id
from clearml_agent_clone.util.files import private_dir, read_json, write_atomic, write_json
from clearml_agent_clone.util.process import Cancel, Console

FORMAT = 1
# The classic agent may keep its own entries beside ours and removes the oldest folders of the cache, except those
# whose name begins like this: an environment that a task is using must not be among them.
FOLDER = f"_temp.environments-{FORMAT}"
_GRACE = 300.0  # seconds after its last use in which an environment is not evicted, leased or not
_ABANDONED = 600.0  # seconds after which a folder without a name is taken for what a dead builder left


@attrs.frozen
class Meta:
    """What is known about a kept environment: written by its builder, read at every use.

    ``variables`` are those that a process in it needs beside ``VIRTUAL_ENV`` and PATH.
    """

    key: str
    installed: tuple[str, ...]
    engine: str
    python: str
    keep: bool = True
    variables: Mapping[str, str] = attrs.Factory(dict)

    @classmethod
    def read(cls, folder: Path) -> Meta | None:
        data = read_json(folder / "meta.json")
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            return None
        return cls(
            key=str(data.get("key", "")),
            installed=tuple(str(line) for line in data.get("installed") or ()),
            engine=str(data.get("engine", "")),
            python=str(data.get("python", "")),
            keep=bool(data.get("keep", True)),
            variables={str(name): str(value) for name, value in (data.get("variables") or {}).items()},
        )


@attrs.define(eq=False)
class Lease:
    """An environment in use. Nobody removes it, or builds into it, until ``release``."""

    folder: Path
    meta: Meta
    _lock: FileLock
    _store: Store

    @property
    def env(self) -> Path:
        """The environment itself."""
        return self.folder / "env"

    def release(self) -> None:
        """Say that the task's processes are gone. The last user has the files compared. Safe to repeat."""
        if self._lock.held:
            self._lock.release()
            self._store.settle(self.folder)

    def fileno(self) -> int:
        """The descriptor that holds the lease. A process that inherits it holds the lease too, as long as it lives."""
        return self._lock.fileno()


@attrs.frozen
class Store:
    """A folder of environments.

    Args:
        root: the folder; made when needed.
        max_entries: how many to keep; those in use stay even when they are more.
        free_space: bytes that must stay free on its disk.
        keep: False for environments that serve one task each: they go when they are released.
        poisoned: called with an environment and those of its files that a task changed and that share their content
            with uv's cache.
    """

    root: Path
    max_entries: int = 10
    free_space: int = 0
    keep: bool = True
    poisoned: Callable[[Path, list[str]], None] | None = None

    def lease(self, key: str, console: Console | None = None) -> Lease | None:
        """The environment ``key``, leased; None when it is not there (or no longer fit for use)."""
        for folder in self._folders(key):
            found = self.join(folder, console)
            if found is not None:
                return found
        return None

    def join(self, folder: Path, console: Console | None = None) -> Lease | None:
        """Lease the environment in ``folder``; None when it is not complete, gone, or changed by a task."""
        meta = Meta.read(folder)
        lock = self._share(folder, console) if meta is not None else None
        return Lease(folder, meta, lock, self) if meta is not None and lock is not None else None

    def build(
        self,
        key: str,
        make: Callable[[Path], Meta],
        console: Console,
        cancel: Cancel | None = None,
    ) -> tuple[Lease, bool]:
        """Build the environment ``key``, or wait for whoever is at it; True when it was built here.

        ``make`` gets the path to build at and returns what it built; when it raises, nothing is kept.
        """
        private_dir(self.root)
        mutex = FileLock(self.root / f"{key}.lock")
        if not mutex.take(alone=True):
            console.say("Waiting for another task that is building the same environment")
            mutex.wait(alone=True, cancel=cancel)
        try:
            there = self.lease(key, console) if self.keep else None
            if there is not None:
                return there, False
            self.sweep()
            return self._make(key, make), True
        finally:
            mutex.release()

    def settle(self, folder: Path) -> None:
        """After a lease was given up: if it was the last, compare the files, or remove what was for one task."""
        with _alone(folder) as lock:
            if lock is None:
                return
            if not self.keep:
                self._discard(folder)
            elif not self._changed(folder, None):
                lock.write(_state(clean=True))

    def evict(self, spare: Path | None = None) -> list[str]:
        """Remove the least recently used environments that nobody uses, until number and free space are in bounds."""
        removed = []
        by_age = sorted((age, folder) for folder in self._folders() if (age := _last_use(folder)) is not None)
        left = len(by_age)
        for last_use, folder in by_age:
            if left <= max(self.max_entries, 1) and self._free() >= self.free_space:
                break
            if folder == spare or time.time() - last_use < _GRACE:
                continue
            with _alone(folder) as lock:
                if lock is not None:
                    self._discard(folder)
                    removed.append(folder.name)
                    left -= 1
        return removed

    def sweep(self) -> None:
        """Remove what dead builders left, and compare the files of environments whose users died."""
        for folder in self._folders():
            with _alone(folder) as lock:
                if lock is None:
                    continue
                if not self.keep or not (folder / "meta.json").exists():
                    self._discard(folder)
                elif lock.read() != _state(clean=True) and not self._changed(folder, None):
                    lock.write(_state(clean=True))
        for trash in self.root.glob("trash.*"):
            shutil.rmtree(trash, ignore_errors=True)
        for unborn in self.root.glob("new.*"):
            if time.time() - unborn.stat().st_mtime > _ABANDONED:
                shutil.rmtree(unborn, ignore_errors=True)
        for file in self.root.glob("*.lock"):
            mutex = FileLock(file)
            if not self._folders(file.stem) and mutex.take(alone=True):
                file.unlink()
            mutex.release()

    def _make(self, key: str, make: Callable[[Path], Meta]) -> Lease:
        folder, lock = self._new_folder(key)
        try:
            meta = make(folder / "env")
            write_atomic(folder / "installed.txt", "".join(f"{line}\n" for line in meta.installed), durable=False)
            if self.keep:
                write_json(folder / "files.json", take_snapshot(folder / "env"), durable=False)
            lock.write(_state(clean=False))
            described = {"format": FORMAT, "created": time.time(), **attrs.asdict(meta), "keep": self.keep}
            write_json(folder / "meta.json", described)
        except BaseException:  # a cancelled or failed build leaves nothing behind, whatever ended it
            self._discard(folder)
            lock.release()
            raise
        # Between giving up the one kind of lock and getting the other an evictor could step in, but it spares what
        # was used a moment ago.
        lock.wait(alone=False)
        return Lease(folder, meta, lock, self)

    def _new_folder(self, key: str) -> tuple[Path, FileLock]:
        """A folder whose lease is held before anybody can see it under its name."""
        name = f"{key}.{secrets.token_hex(3)}"
        unborn = private_dir(self.root / f"new.{name}")
        lock = FileLock(unborn / "lease")
        lock.wait(alone=True)
        folder = unborn.rename(self.root / name)
        lock.path = folder / "lease"
        return folder, lock

    def _share(self, folder: Path, console: Console | None) -> FileLock | None:
        """Share the lease of ``folder``; None when it is gone or must not be used again."""
        lock = FileLock(folder / "lease")
        try:
            while True:
                if lock.take(alone=True):
                    if lock.read() != _state(clean=True) and self._changed(folder, console):
                        lock.release()
                        return None
                    lock.write(_state(clean=False))
                if lock.take(alone=False):
                    return lock
                time.sleep(0.002)  # somebody compares or removes it; both are short
        except FileNotFoundError:  # removed meanwhile
            return None

    def _changed(self, folder: Path, console: Console | None) -> bool:
        """Whether files differ from what was built; then the environment is gone afterwards. Needs the lock alone."""
        before = read_json(folder / "files.json")
        snapshot = {name: (size, stamp) for name, (size, stamp) in before.items()} if isinstance(before, dict) else {}
        try:
            names = changed_files(folder / "env", snapshot) if (folder / "env").is_dir() else ["env"]
        except OSError:  # a task took the right to read a folder away
            names = ["env"]
        if not names:
            return False
        if console is not None:
            console.say(f"The kept environment was changed by an earlier task ({named(names)}): it is built anew")
        shared = shared_among(folder / "env", names)
        if shared:
            self._doubt_all()
            if self.poisoned is not None:
                self.poisoned(folder / "env", shared)
        self._discard(folder)
        return True

    def _doubt_all(self) -> None:
        """Have every other environment compared before its next use: they may share the file that was changed."""
        for folder in self._folders():
            with contextlib.suppress(OSError):
                lease = folder / "lease"
                times = lease.stat()
                lease.write_bytes(_state(clean=False))
                os.utime(lease, ns=(times.st_atime_ns, times.st_mtime_ns))  # it was not used

    def _discard(self, folder: Path) -> None:
        trash = self.root / f"trash.{secrets.token_hex(6)}"
        try:
            folder.rename(trash)
        except OSError:
            trash = folder
        shutil.rmtree(trash, ignore_errors=True)

    def _folders(self, key: str = "") -> list[Path]:
        """The folders of environments (of one ``key``), newest first."""
        prefix = f"{key}." if key else ""
        try:
            with os.scandir(self.root) as entries:
                found = [
                    Path(entry.path)
                    for entry in entries
                    if entry.name.startswith(prefix)
                    and not entry.name.startswith(("trash.", "new."))
                    and entry.is_dir()
                ]
        except FileNotFoundError:
            return []
        return found if len(found) < 2 else sorted(found, key=lambda folder: _last_use(folder) or 0.0, reverse=True)

    def _free(self) -> int:
        return shutil.disk_usage(self.root).free


def hold(folder: Path, poisoned: Callable[[Path, list[str]], None]) -> Lease | None:
    """Share the lease of an environment that a running task uses already, whose runner is gone.

    Its files are not compared: changed or not, the task needs it.
    """
    meta = Meta.read(folder)
    lock = FileLock(folder / "lease")
    if meta is None or not lock.take(alone=False):
        return None
    return Lease(folder, meta, lock, Store(folder.parent, keep=meta.keep, poisoned=poisoned))


def _state(*, clean: bool) -> bytes:
    """What stands in a lease. Clean: nobody used it since its files were compared, and the machine did not go down."""
    return f"clean {boot_id()}".encode() if clean else b"used"


def _last_use(folder: Path) -> float | None:
    try:
        return os.stat(folder / "lease").st_mtime  # noqa: PTH116 - called for every environment of the store
    except OSError:
        return None


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[FileLock | None]:
    """Have ``folder`` to oneself inside the block; None when somebody uses it or it is gone."""
    lock = FileLock(folder / "lease")
    try:
        mine = lock.take(alone=True)
    except FileNotFoundError:
        mine = False
    try:
        yield lock if mine else None
    finally:
        lock.release()
