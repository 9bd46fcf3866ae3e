"""Keep a store within its bounds, and clear away what interrupted work has left there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from clearml_agent_clone.environment.leases import alone, last_use, state
from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.util.files import read_json

if TYPE_CHECKING:
    from clearml_agent_clone.environment.store import Store

_GRACE = 300.0  # seconds after its last use in which an environment is not evicted, leased or not


@attrs.frozen
class Bounds:
    """What a store keeps at most. Environments in use stay whatever is said here.

    Args:
        entries: how many environments.
        age: seconds since the last use; 0 keeps them whatever their age.
        size: bytes of all of them together, files shared with uv's cache included; 0 sets no limit.
        free_space: bytes that must stay free on the disk.
    """

    entries: int = 10
    age: float = 0.0
    size: int = 0
    free_space: int = 0


@attrs.define
class _Kept:
    """The environments that are left while some are being removed, the least recently used first."""

    store: Store
    spare: Path | None
    grace: float = _GRACE
    folders: list[tuple[float, Path]] = attrs.Factory(list)
    removed: list[str] = attrs.Factory(list)

    def remove_while(self, too_much: Callable[[float], bool]) -> None:
        """Remove one after the other as long as ``too_much`` (of its last use) says so."""
        for used, folder in list(self.folders):
            if not too_much(used):
                break
            if folder == self.spare or time.time() - used < self.grace:
                continue
            with alone(folder) as lock:
                if lock is not None:
                    self.store.discard(folder)
                    self.removed.append(folder.name)
                    self.folders.remove((used, folder))


def evict(store: Store, spare: Path | None = None, *, space: bool = True) -> list[str]:
    """Remove environments that nobody uses until ``store`` is within its bounds; the names of those that went.

    Args:
        store: the store.
        spare: stays in any case.
        space: also see to free space on the disk.
    """
    bounds = store.bounds
    kept = _kept(store, spare)
    if bounds.age:
        oldest = time.time() - bounds.age
        kept.remove_while(lambda used: used < oldest)
    kept.remove_while(lambda _: len(kept.folders) > max(bounds.entries, 1))
    if bounds.size:
        sizes = {folder: _size(folder) for _, folder in kept.folders}
        kept.remove_while(lambda _: sum(sizes[folder] for _, folder in kept.folders) > bounds.size)
    if space and _free(store) < bounds.free_space:
        if store.squeeze is not None:
            store.squeeze()
        kept.remove_while(lambda _: _free(store) < bounds.free_space)
    return kept.removed


def make_room(store: Store) -> list[str]:
    """Remove all that nobody uses, however short the last use is ago: an installation found the disk full."""
    if store.squeeze is not None:
        store.squeeze()
    kept = _kept(store, None, grace=0.0)
    kept.remove_while(lambda _: True)
    return kept.removed


def sweep(store: Store) -> None:
    """Remove what dead builders left, and compare the files of environments whose users died."""
    for folder in store.folders():
        with alone(folder) as lock:
            if lock is None:
                continue
            if not store.keep or not (folder / "meta.json").exists():
                store.discard(folder)
            elif lock.read() != state(clean=True) and not store.changed(folder, None):
                lock.write(state(clean=True))
    for trash in store.root.glob("trash.*"):
        shutil.rmtree(trash, ignore_errors=True)
    for unborn in store.root.glob("new.*"):
        with alone(unborn) as lock:
            if lock is not None:
                shutil.rmtree(unborn, ignore_errors=True)
    for file in store.root.glob("*.lock"):
        mutex = FileLock(file)
        if not store.folders(file.stem) and mutex.take(alone=True):
            file.unlink()
        mutex.release()


def _kept(store: Store, spare: Path | None, grace: float = _GRACE) -> _Kept:
    folders = sorted((used, folder) for folder in store.folders() if (used := last_use(folder)) is not None)
    return _Kept(store, spare, grace, folders)


def _size(folder: Path) -> int:
    data = read_json(folder / "meta.json")
    return int(data.get("size") or 0) if isinstance(data, dict) else 0


def _free(store: Store) -> int:
    return shutil.disk_usage(store.root).free
