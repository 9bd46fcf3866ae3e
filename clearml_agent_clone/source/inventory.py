"""Which mirrors of repositories are kept on this machine, and which runs borrow from them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.source.lock import held
from clearml_agent_clone.util.kept import Kept, size_of
from clearml_agent_clone.util.process import Cancel

_LOCK = "lock"
_DEEPEST = 3  # folders between a run's own and a checkout's repository


def inventory(cache: Path, runs: Path) -> list[Kept]:
    """The mirrors in ``cache`` (``agent.vcs_cache.path``), and which runs in the folder ``runs`` use them."""
    borrowed = _borrowed(runs)
    folders = sorted(folder for folder in (cache / "mirrors").glob("*") if folder.is_dir())
    return [_kept(folder, borrowed, runs) for folder in folders if any(each.name != _LOCK for each in folder.iterdir())]


def _kept(folder: Path, borrowed: dict[str, tuple[str, ...]], runs: Path) -> Kept:
    return Kept(
        kind="mirror",
        key=folder.name,
        path=folder,
        size=size_of(folder),
        last_use=max(_times(folder), default=folder.stat().st_mtime),
        users=borrowed.get(folder.name, ()),
        remove=lambda: _remove(folder, runs),
    )


def _times(folder: Path) -> Iterator[float]:
    """When it was written to, and (to a day or so) when it was read."""
    for name in (_LOCK, "mirror/stamps.json", "mirror/HEAD", "mirror/packed-refs", "hg/.hg/requires"):
        with contextlib.suppress(OSError):
            status = (folder / name).stat()
            yield max(status.st_mtime, status.st_atime)


def _remove(folder: Path, runs: Path) -> bool:
    """Remove a mirror; its lock stays, for those who may be waiting for it."""
    if folder.name in _borrowed(runs):
        return False
    nobody_waits = Cancel()
    nobody_waits.set()
    try:
        with held(folder, nobody_waits, lambda: None):
            for entry in list(folder.iterdir()):
                if entry.name != _LOCK:
                    trash = folder / f"trash-{secrets.token_hex(4)}"
                    entry.rename(trash)
                    shutil.rmtree(trash, ignore_errors=True)
    except Cancelled:  # a task fetches into it
        return False
    return True


def _borrowed(runs: Path) -> dict[str, tuple[str, ...]]:
    """Names of mirrors, with the runs whose checkouts need them."""
    found: dict[str, dict[str, None]] = {}
    for run in sorted(runs.glob("*")):
        for file in _references(run):
            with contextlib.suppress(OSError):
                for line in file.read_text(errors="replace").splitlines():
                    parts = Path(line).parts
                    if "mirrors" in parts[:-1]:
                        found.setdefault(parts[parts.index("mirrors") + 1], {})[f"run {run.name}"] = None
    return {name: tuple(users) for name, users in found.items()}


def _references(run: Path) -> Iterator[Path]:
    """The files of a run's checkouts that say which repository they borrow from."""
    start = len(run.parts)
    for place, folders, _ in os.walk(run):
        here = Path(place)
        if ".git" in folders:
            yield here / ".git" / "objects" / "info" / "alternates"
            yield from (here / ".git" / "modules").rglob("objects/info/alternates")
        if ".hg" in folders:
            yield here / ".hg" / "sharedpath"
        if len(here.parts) - start >= _DEEPEST or {".git", ".hg"} & set(folders):
            folders.clear()
