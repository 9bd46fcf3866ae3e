"""Find the files of a poetry or uv project in the checkout."""

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.environment.model import Declined, EnvironmentRequest
from clearml_agent_clone.environment.projects.manifest import Manifest


@attrs.frozen
class Found:
    """The project that counts.

    Args:
        kind: ``poetry``, ``uv`` or ``pylock``.
        root: the checkout.
        folder: where the project is.
        manifest: its ``pyproject.toml``; a ``pylock.toml`` may come without.
        lock: the lock file, which may be that of a workspace around ``folder``; None when there is none.
        notes: what there is to say about the choice.
    """

    kind: str
    root: Path
    folder: Path
    manifest: Manifest | None
    lock: Path | None
    notes: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The decisive file, for the console: ``uv.lock of the repository``, ``poetry.lock in services/train``."""
        file = self.lock or self.folder / "pyproject.toml"
        try:
            place = file.parent.resolve().relative_to(self.root.resolve())
        except ValueError:
            place = Path()
        return f"{file.name} in {place}" if place.parts else f"{file.name} of the repository"


def find_project(kind: str, request: EnvironmentRequest, root: Path, *, working_dir_first: bool) -> Found | Declined:
    """The project of ``kind`` (``poetry`` or ``uv``) at the root of the repository or in the task's working folder."""
    look = _poetry if kind == "poetry" else _uv
    working = request.script_dir if request.script_dir is not None and _inside(request.script_dir, root) else root
    folders = [working, root] if working_dir_first else [root, working]
    why = ""
    for number, folder in enumerate(dict.fromkeys(folders)):
        found = look(folder, root)
        if isinstance(found, Found):
            if number and not working_dir_first:
                found = attrs.evolve(found, notes=("the root of the repository has no such file",))
            elif number:
                found = attrs.evolve(found, notes=("the working folder has no such file",))
            return found
        why = why or found
    what = (
        why
        or "the repository has neither "
        + {
            "poetry": "poetry.lock nor pyproject.toml",
            "uv": "uv.lock, pylock.toml nor pyproject.toml",
        }[kind]
    )
    return Declined(f'{what}: packages are installed as for "pip"')


def _poetry(folder: Path, root: Path) -> Found | str:
    manifest = Manifest.read(folder)
    lock = folder / "poetry.lock"
    if manifest is None:
        return "poetry.lock comes without pyproject.toml" if lock.is_file() else ""
    if not lock.is_file() and not manifest.poetry and not manifest.project:
        return "pyproject.toml describes no project"
    return Found("poetry", root, folder, manifest, lock if lock.is_file() else None)


def _uv(folder: Path, root: Path) -> Found | str:
    manifest = Manifest.read(folder)
    described = manifest is not None and bool(manifest.project or manifest.table("tool", "uv", "workspace"))
    lock = _uv_lock(folder, root) if described else None
    if lock is not None:
        return Found("uv", root, folder, manifest, lock)
    pylock = folder / "pylock.toml"
    if pylock.is_file():
        return Found("pylock", root, folder, manifest if described else None, pylock)
    if described:
        return Found("uv", root, folder, manifest, None)
    if (folder / "uv.lock").is_file():
        return "uv.lock comes without a pyproject.toml that describes a project"
    return "" if manifest is None else "pyproject.toml describes no project ([project] is missing)"


def _uv_lock(folder: Path, root: Path) -> Path | None:
    """The lock file of ``folder``, or of the workspace that it is a member of."""
    if (folder / "uv.lock").is_file():
        return folder / "uv.lock"
    for above in folder.parents:
        if not _inside(above, root):
            break
        if (above / "uv.lock").is_file():
            manifest = Manifest.read(above)
            return above / "uv.lock" if manifest is not None and manifest.table("tool", "uv", "workspace") else None
    return None


def _inside(folder: Path, root: Path) -> bool:
    return folder.resolve().is_relative_to(root.resolve())
