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
``meta.json`` and nobody holds its lease: the next builder of any key sweeps it away. ``upkeep.py`` does that, and
removes what has been kept for long enough.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment import upkeep
from clearml_agent_clone.environment.guard import (
    Snapshot,
    changed_files,
    named,
    shared_among,
    take_snapshot,
    tampered,
)
from clearml_agent_clone.environment.leases import alone, last_use, state
from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.environment.signs import Silence, signs_of_life
from clearml_agent_clone.environment.upkeep import Bounds
from clearml_agent_clone.errors import AgentError, UserError
from clearml_agent_clone.util.files import private_dir, read_json, write_atomic, write_json
from clearml_agent_clone.util.process import Cancel, Console

FORMAT = 1
# The classic agent may keep its own entries beside ours and removes the oldest folders of the cache, except those
# whose name begins like this: an environment that a task is using must not be among them.
FOLDER = f"_temp.environments-{FORMAT}"
LAYER = "task."
"""What the folders begin with that belong to one task, beside the environment."""

_FULL = ("disk-full", "No space left", "disk is full")


class Busy(AgentError):  # noqa: N818 - named by what to do with it: build elsewhere
    """Whoever builds the environment has not shown a sign of life for too long."""

    default_code = "store-busy"


@attrs.frozen
class Meta:
    """What is known about a kept environment: written by its builder, read at every use.

    ``variables`` are those that a process in it needs beside ``VIRTUAL_ENV`` and PATH; ``size`` is the bytes of its
    files, those shared with uv's cache included.
    """

    key: str
    installed: tuple[str, ...]
    engine: str
    python: str
    keep: bool = True
    variables: Mapping[str, str] = attrs.Factory(dict)
    created: float = 0.0
    size: int = 0

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
            created=float(data.get("created") or 0.0),
            size=int(data.get("size") or 0),
        )


@attrs.define(eq=False)
class Lease:
    """An environment in use. Nobody removes it, or builds into it, until ``release``.

    ``layer`` is what one task has to itself on top of it, a folder that goes with the lease.
    """

    folder: Path
    meta: Meta
    _lock: FileLock
    _store: Store
    layer: Path | None = None

    @property
    def env(self) -> Path:
        """The environment itself."""
        return self.folder / "env"

    def release(self) -> None:
        """Say that the task's processes are gone. The last user has the files compared. Safe to repeat."""
        if self._lock.held:
            if self.layer is not None:
                shutil.rmtree(self.layer, ignore_errors=True)
            self._lock.release()
            self._store.settle(self.folder)
            if self._store.keep:  # space is looked at where it is needed: before a build
                upkeep.evict(self._store, space=False)

    def fileno(self) -> int:
        """The descriptor that holds the lease. A process that inherits it holds the lease too, as long as it lives."""
        return self._lock.fileno()


@attrs.frozen
class Store:
    """A folder of environments.

    Args:
        root: the folder; made when needed.
        bounds: what is kept; environments in use stay even when they are more.
        keep: False for environments that serve one task each: they go when they are released.
        poisoned: called with an environment and those of its files that a task changed and that share their content
            with uv's cache.
        memory: the file that says which files of uv's cache were compared; None for one in ``root``.
        squeeze: called when the disk is nearly full, before environments are removed for that: their files may be
            shared with uv's cache, and then removing them frees nothing.
    """

    root: Path
    bounds: Bounds = attrs.Factory(Bounds)
    keep: bool = True
    poisoned: Callable[[Path, list[str]], None] | None = None
    squeeze: Callable[[], None] | None = None
    memory: Path | None = None

    def foreign(self) -> str:
        """Why what is in the store must not be trusted; empty when it may be, or nothing is there."""
        try:
            found = self.root.stat()
        except OSError:
            return ""
        if found.st_uid not in {0, os.geteuid()}:
            return f"{self.root} belongs to another user ({found.st_uid})"
        if found.st_mode & 0o022:
            return f"{self.root} can be changed by other users (mode {found.st_mode & 0o7777:04o})"
        return ""

    def closed(self) -> str:
        """Why nothing can be built here; empty when it can."""
        try:
            private_dir(self.root)
        except AgentError as error:
            return error.message
        return "" if os.access(self.root, os.W_OK | os.X_OK) else f"{self.root} cannot be written"

    def short(self) -> str:
        """Why nothing more is to be kept here: less space is left than must stay free, whatever is removed."""
        if self._free() >= self.bounds.free_space:
            return ""
        self.evict()
        free = self._free()
        if free >= self.bounds.free_space:
            return ""
        return f"{free / 1e9:.1f} GB are free at {self.root}, and {self.bounds.free_space / 1e9:g} GB have to stay free"

    def lease(self, key: str, console: Console | None = None) -> Lease | None:
        """The environment ``key``, leased; None when it is not there (or no longer fit for use)."""
        for folder in self.folders(key):
            found = self.join(folder, console)
            if found is not None:
                return found
        return None

    def join(self, folder: Path, console: Console | None = None) -> Lease | None:
        """Lease the environment in ``folder``; None when it is not complete, gone, or changed by a task."""
        meta = Meta.read(folder)
        lock = self._share(folder, console) if meta is not None else None
        return Lease(folder, meta, lock, self) if meta is not None and lock is not None else None

    def hold(self, folder: Path) -> Lease | None:
        """Share the lease of an environment that a running task uses already, whose runner is gone.

        Its files are not compared: changed or not, the task needs it.

        Raises:
            FileNotFoundError: it is gone.
        """
        meta = Meta.read(folder)
        lock = FileLock(folder / "lease")
        return Lease(folder, meta, lock, self) if meta is not None and lock.take(alone=False) else None

    def build(
        self,
        key: str,
        make: Callable[[Path], Meta],
        console: Console,
        cancel: Cancel | None = None,
        patience: float = float("inf"),
    ) -> tuple[Lease, bool]:
        """Build the environment ``key``, or wait for whoever is at it; True when it was built here.

        ``make`` gets the path to build at and returns what it built; when it raises, nothing is kept.

        Raises:
            Busy: whoever builds it has not shown a sign of life for ``patience`` seconds.
            UserError: the store belongs to somebody else, or cannot be written.
            Cancelled: while waiting or building.
        """
        private_dir(self.root)
        if why := self.foreign():
            raise UserError(why, remedy="Set agent.venvs_dir to a folder of your own", code="store-foreign")
        mutex = FileLock(self.root / f"{key}.lock")
        if not mutex.take(alone=True):
            console.say("Waiting for another task that is building the same environment")
            if not mutex.wait(alone=True, cancel=cancel, give_up=Silence(mutex.path, patience).is_long):
                raise Busy(f"whoever builds it has shown no sign of life for {patience:g} s (venvs_cache.lock_timeout)")
        try:
            with signs_of_life(mutex):
                there = self.lease(key, console) if self.keep else None
                if there is not None:
                    return there, False
                self.sweep()
                return self._make_room_and_make(key, make, console), True
        finally:
            mutex.release()

    def _make_room_and_make(self, key: str, make: Callable[[Path], Meta], console: Console) -> Lease:
        try:
            return self._make(key, make, console)
        except AgentError as error:
            full = any(word in f"{error.code} {error.message}" for word in _FULL)
            removed = upkeep.make_room(self) if full and self.keep else []
            if not removed:
                raise
            console.say(f"The disk is full: removed {len(removed)} kept environments that nobody uses, trying again")
        return self._make(key, make, console)

    def settle(self, folder: Path) -> None:
        """After a lease was given up: if it was the last, compare the files, or remove what was for one task."""
        with alone(folder) as lock:
            if lock is None:
                return
            if not self.keep:
                self.discard(folder)
            elif not self.changed(folder, None):
                lock.write(state(clean=True))

    def evict(self, spare: Path | None = None) -> list[str]:
        """Remove environments that nobody uses, the least recently used first, until all is within ``bounds``."""
        return upkeep.evict(self, spare)

    def sweep(self) -> None:
        """Remove what dead builders left, and compare the files of environments whose users died."""
        upkeep.sweep(self)

    def _make(self, key: str, make: Callable[[Path], Meta], console: Console) -> Lease:
        folder, lock = self._new_folder(key)
        try:
            meta, snapshot = self._made(folder / "env", make, console)
            size = sum(values[0] for values in snapshot.values())
            meta = attrs.evolve(meta, created=time.time(), size=size, keep=self.keep)
            write_atomic(folder / "installed.txt", "".join(f"{line}\n" for line in meta.installed), durable=False)
            if self.keep:
                write_json(folder / "files.json", snapshot, durable=False)
            lock.write(state(clean=False))
            # Not forced to disk, which takes as long as the build: after a power cut the files are compared anyway.
            write_json(folder / "meta.json", {"format": FORMAT, **attrs.asdict(meta)}, durable=False)
        except BaseException:  # a cancelled or failed build leaves nothing behind, whatever ended it
            self.discard(folder)
            lock.release()
            raise
        # Between giving up the one kind of lock and getting the other an evictor could step in, but it spares what
        # was used a moment ago.
        lock.wait(alone=False)
        return Lease(folder, meta, lock, self)

    def _made(self, env: Path, make: Callable[[Path], Meta], console: Console) -> tuple[Meta, Snapshot]:
        """Have ``env`` built; once more when a task that still runs has changed what it was linked from."""
        since = time.time()
        meta = make(env)
        snapshot = take_snapshot(env)
        spoiled = tampered(env, snapshot, since, self.memory or self.root / "compared.json")
        if not spoiled or self.poisoned is None:
            return meta, snapshot
        console.say(f"A task has changed packages in uv's cache ({named(spoiled)}): they are fetched again")
        self.poisoned(env, spoiled)
        shutil.rmtree(env)
        meta = make(env)
        return meta, take_snapshot(env)

    def _new_folder(self, key: str) -> tuple[Path, FileLock]:
        """A folder whose lease is held before anybody can see it under its name."""
        while True:
            name = f"{key}.{secrets.token_hex(3)}"
            unborn = private_dir(self.root / f"new.{name}")
            lock = FileLock(unborn / "lease")
            with contextlib.suppress(FileNotFoundError):  # somebody took it for what a dead builder left
                lock.wait(alone=True)
                folder = unborn.rename(self.root / name)
                lock.path = folder / "lease"
                return folder, lock

    def _share(self, folder: Path, console: Console | None) -> FileLock | None:
        """Share the lease of ``folder``; None when it is gone or must not be used again."""
        lock = FileLock(folder / "lease")
        compared = False
        try:
            while True:
                if lock.take(alone=True):
                    if lock.read() != state(clean=True) and self.changed(folder, console):
                        lock.release()
                        return None
                    compared = True
                    lock.write(state(clean=False))
                if lock.take(alone=False):
                    if not compared and self._changed_by_its_users(folder, lock, console):
                        lock.release()
                        return None
                    return lock
                time.sleep(0.002)  # somebody compares or removes it; both are short
        except FileNotFoundError:  # removed meanwhile
            return None

    def changed(self, folder: Path, console: Console | None) -> bool:
        """Whether files differ from what was built; then the environment is gone afterwards. Needs the lock alone."""
        for layer in folder.glob(f"{LAYER}*"):  # of tasks whose runners died
            shutil.rmtree(layer, ignore_errors=True)
        names = self._differences(folder)
        if not names:
            return False
        if console is not None:
            console.say(f"The kept environment was changed by an earlier task ({named(names)}): it is built anew")
        self._warn_of(folder, names)
        self.discard(folder)
        return True

    def _changed_by_its_users(self, folder: Path, lock: FileLock, console: Console | None) -> bool:
        """Whether those who use ``folder`` right now have changed it. It stays theirs."""
        if lock.read_only and lock.read().startswith(b"clean"):  # who can write there does not let us, nor the task
            return False
        names = self._differences(folder)
        if not names:
            return False
        if console is not None:
            console.say(f"A task that is running has changed the kept environment ({named(names)}): another is built")
        self._warn_of(folder, names)
        return True

    def _differences(self, folder: Path) -> list[str]:
        before = read_json(folder / "files.json")
        snapshot = {name: tuple(values) for name, values in before.items()} if isinstance(before, dict) else {}
        try:
            return changed_files(folder / "env", snapshot) if (folder / "env").is_dir() else ["env"]
        except OSError:  # a task took the right to read a folder away
            return ["env"]

    def _warn_of(self, folder: Path, names: list[str]) -> None:
        """Those of the changed files that are shared have changed elsewhere too."""
        shared = shared_among(folder / "env", names)
        if shared:
            self._doubt_all()
            if self.poisoned is not None:
                self.poisoned(folder / "env", shared)

    def _doubt_all(self) -> None:
        """Have every other environment compared before its next use: they may share the file that was changed."""
        for folder in self.folders():
            with contextlib.suppress(OSError):
                lease = folder / "lease"
                times = lease.stat()
                lease.write_bytes(state(clean=False))
                os.utime(lease, ns=(times.st_atime_ns, times.st_mtime_ns))  # it was not used

    def discard(self, folder: Path) -> None:
        trash = self.root / f"trash.{secrets.token_hex(6)}"
        try:
            folder.rename(trash)
        except OSError:
            trash = folder
        shutil.rmtree(trash, ignore_errors=True)

    def folders(self, key: str = "") -> list[Path]:
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
        except OSError:  # not made yet, or nothing that we may look into
            return []
        return found if len(found) < 2 else sorted(found, key=lambda folder: last_use(folder) or 0.0, reverse=True)

    def _free(self) -> int:
        return shutil.disk_usage(self.root).free
