"""What of environments, tools and downloaded packages is kept on this machine, and who uses it now."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment import downloads
from clearml_agent_clone.environment.build import (
    containers_folder,
    for_containers,
    open_store,
    own_folder,
    store_folder,
)
from clearml_agent_clone.environment.conda.settings import CondaSettings
from clearml_agent_clone.environment.leases import alone, last_use
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.store import FOLDER, Meta, Store
from clearml_agent_clone.util.kept import Kept, size_of

_SHOWN = 200  # packages


def inventory(settings: EnvironmentSettings) -> list[Kept]:
    """All of it, in the order in which it is shown."""
    users = _holders()
    stores = [("environment", store_folder(settings), True), ("tool", settings.state_dir / "tools" / FOLDER, True)]
    if own_folder(settings) != store_folder(settings):
        stores.append(("environment", own_folder(settings), False))
    inside = for_containers(settings, "")
    stores += [("environment", store_folder(inside), True), ("environment", own_folder(inside), False)]
    found = []
    for kind, root, keep in stores:
        store = open_store(root, settings, keep=keep)
        found += [_environment(kind, folder, store, users) for folder in store.folders()]
        found += _remains(kind, store)
    caches = sorted(containers_folder(settings).glob("cache-*"))
    of_containers = [attrs.evolve(settings, uv_cache_dir=cache, conda=CondaSettings()) for cache in caches]
    return [*found, *(kept for each in (settings, *of_containers) for kept in _downloads(each))]


def tidy(settings: EnvironmentSettings) -> list[str]:
    """Remove what interrupted work has left, and what is too much by the configuration; names of what went."""
    gone = []
    inside = for_containers(settings, "")
    for each, keep in ((settings, True), (settings, False), (inside, True), (inside, False)):
        root = store_folder(each) if keep else own_folder(each)
        store = open_store(root, settings, keep=keep)
        if root.is_dir() and not store.foreign() and not store.closed():
            store.sweep()
            gone += store.evict() if keep else []
    return gone


def _environment(kind: str, folder: Path, store: Store, users: Mapping[str, tuple[str, ...]]) -> Kept:
    meta = Meta.read(folder)
    with alone(folder) as lock:
        used = lock is None
    left = not used and (meta is None or not store.keep)
    packages = list(meta.installed[:_SHOWN]) if meta else []
    details = {
        "python": meta.python if meta else "",
        "engine": meta.engine if meta else "",
        "created": meta.created if meta else 0.0,
        "number_of_packages": len(meta.installed) if meta else 0,
        "packages": packages,
        "for_one_task": not store.keep,
        "complete": meta is not None,
    }
    return Kept(
        kind=kind,
        key=folder.name,
        path=folder,
        size=meta.size if meta and meta.size else size_of(folder),
        last_use=last_use(folder) or folder.stat().st_mtime,
        users=users.get(str(folder / "lease"), ("somebody",)) if used else (),
        details=details,
        remove=lambda: _remove(folder, store),
        left=left,
    )


def _remove(folder: Path, store: Store) -> bool:
    with alone(folder) as lock:
        if lock is None:
            return not folder.exists()
        store.discard(folder)
        return True


def _remains(kind: str, store: Store) -> Iterator[Kept]:
    """What was being removed, or not even begun, when its process died."""
    for folder in (*store.root.glob("trash.*"), *store.root.glob("new.*")):

        def remove(folder: Path = folder) -> bool:
            shutil.rmtree(folder, ignore_errors=True)
            return not folder.exists()

        with alone(folder) as lock:
            if lock is not None or folder.name.startswith("trash."):
                yield Kept(
                    kind, folder.name, folder, size_of(folder), folder.stat().st_mtime, (), {}, remove, left=True
                )


def _downloads(settings: EnvironmentSettings) -> Iterator[Kept]:
    cache = settings.uv_cache_dir
    if cache is not None and _has_folders(cache):

        def clean() -> bool:
            downloads.clean(settings, everything=True)
            return True

        yield Kept("download", "uv", cache, size_of(cache), _newest(cache), (), {}, clean)
    packages = settings.conda.packages_dir
    if packages is not None and _has_folders(packages):

        def drop() -> bool:
            shutil.rmtree(packages, ignore_errors=True)
            return not packages.exists()

        yield Kept("download", "conda", packages, size_of(packages), _newest(packages), (), {}, drop)


def _has_folders(cache: Path) -> bool:
    """Whether something is kept there; uv leaves its lock and a few notes behind."""
    return cache.is_dir() and any(entry.is_dir() for entry in list(cache.iterdir()))


def _newest(folder: Path) -> float:
    """When something was last added to ``folder``, by the folders at its top."""
    return max((entry.lstat().st_mtime for entry in list(folder.iterdir())), default=0.0)


def _holders() -> dict[str, tuple[str, ...]]:
    """Which tasks have which leases open. Processes of others are not ours to look into."""
    tasks: dict[str, dict[str, None]] = {}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and (leases := _open_leases(process)):
            name = _task_of(process) or f"process {process.name}"
            for lease in leases:
                tasks.setdefault(lease, {})[name] = None
    return {lease: tuple(names) for lease, names in tasks.items()}


def _open_leases(process: Path) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # it ended, or belongs to somebody else
        for handle in (process / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(handle.readlink()))
    return {file for file in found if file.endswith("/lease")}


def _task_of(process: Path) -> str:
    try:
        environ = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    mark = b"CLEARML_TASK_ID="
    return next((f"task {line[len(mark) :].decode(errors='replace')}" for line in environ if line.startswith(mark)), "")
