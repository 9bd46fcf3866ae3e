"""uv installs a project's dependencies: from ``uv.lock``, from ``pyproject.toml`` alone, or from ``pylock.toml``."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.engines.project_runs import ask_project, check, run_project
from clearml_agent_clone.environment.engines.running import Command
from clearml_agent_clone.environment.engines.uv import UvEngine
from clearml_agent_clone.environment.model import Project
from clearml_agent_clone.environment.projects.local import Local, write_local
from clearml_agent_clone.environment.projects.manifest import Manifest, read_toml, table
from clearml_agent_clone.environment.projects.mirror import mirror
from clearml_agent_clone.util.process import Finished

_TO_INSTALL = re.compile(r"^ \+ ([^\s=@]+)(?:==\S+)? (?:@ |\(from )(file://[^\s)]+)\)?", re.MULTILINE)
_OUTDATED = "needs to be updated"
_LOCAL_KINDS = {"editable", "directory", "virtual"}


@attrs.frozen
class UvProjectEngine(UvEngine):
    """``uv sync`` into the task's environment, without what is in the checkout."""

    name: str = "uv sync"

    def install(self, work: Work, python: Path) -> None:
        project = work.plan.project
        assert project is not None  # plans of this engine have one
        work.console.say(self._run([self.program, "--version"], work).last_line)
        sync = _Sync(self, work, python, project)
        write_local(work.folder, sync.install())
        if work.plan.lines:
            UvEngine.install(self, work, python)

    def start(self, arguments: list[str], work: Work, place: Path, *, quiet: bool = False) -> Finished:
        """Run uv with ``arguments`` in ``place``, for the project there."""
        told = (work.plan.project.text if work.plan.project else "").split()
        variables = self._environment(work)
        variables.pop("UV_INDEX_STRATEGY", None)
        if "best-match" in told:
            variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
        elif "UV_INDEX_STRATEGY" in work.settings.environ:
            variables["UV_INDEX_STRATEGY"] = work.settings.environ["UV_INDEX_STRATEGY"]
        variables["UV_NO_PROGRESS"] = "1"
        variables.setdefault("UV_PREVIEW_FEATURES", "pylock")  # which only spares a warning
        variables["UV_PROJECT_ENVIRONMENT"] = str(work.folder)
        command = Command([self.program, *arguments], variables, place)
        places = work.plan.project.places if work.plan.project else ""
        return ask_project(command, work) if quiet else run_project(command, work, places or work.plan.indexes.shown)


@attrs.frozen
class _Sync:
    engine: UvProjectEngine
    work: Work
    python: Path
    project: Project

    def install(self) -> list[Local]:
        """Install what is not in the checkout; returns what is."""
        lock = next((file for file in self.project.files if file.name == "uv.lock"), None)
        frozen = bool({"--frozen", "--no-locked"} & set(self.project.arguments))
        if lock is not None and (frozen or "locked" in self.project.text.split()):
            done = self._sync(self.project.folder, lock, frozen=frozen)
            if done.ok or _OUTDATED not in done.output:
                return self._finish(done, self.project.folder, lock, frozen=frozen)
            self.work.console.say(
                "uv.lock does not fit pyproject.toml any more: uv chooses versions for what changed. Run uv lock and "
                "commit uv.lock to have every task get the same"
            )
        root = self.work.plan.root or self.project.folder
        place = mirror(root, self.project.folder, self.work.scratch / "checkout")
        self._check(self._start(["lock", "--python", str(self.python)], place))
        fresh = next(above / "uv.lock" for above in (place, *place.parents) if (above / "uv.lock").is_file())
        return self._finish(self._sync(place, fresh), place, fresh)

    def _sync(self, place: Path, lock: Path, *, frozen: bool = False, dry: bool = False) -> Finished:
        argv = ["sync", "--inexact", "--python", str(self.python)]
        argv += [] if frozen or "--locked" in self.project.arguments else ["--locked"]
        argv += (
            ["--dry-run"] if dry else [word for name in _local_names(lock) for word in ("--no-install-package", name)]
        )
        return self._start([*argv, *self.project.arguments], place, quiet=dry)

    def _finish(self, done: Finished, place: Path, lock: Path, *, frozen: bool = False) -> list[Local]:
        self._check(done)
        names = set(_local_names(lock))
        if not names:
            return []
        pending = self._sync(place, lock, frozen=frozen, dry=True)
        self._check(pending)
        found = []
        for name, url in _TO_INSTALL.findall(pending.output):
            folder = Path(unquote(urlsplit(url).path))
            if name in names:
                found.append(Local.at(name, self._mapped(folder, place), self.project.folder))
        return found

    def _start(self, arguments: list[str], place: Path, *, quiet: bool = False) -> Finished:
        return self.engine.start(arguments, self.work, place, quiet=quiet)

    def _check(self, done: Finished) -> None:
        check(done, self.work, self.project.places or self.work.plan.indexes.shown)

    def _mapped(self, folder: Path, place: Path) -> Path:
        if place == self.project.folder:
            return folder
        stand_in = (self.work.scratch / "checkout").resolve()
        root = self.work.plan.root or self.project.folder
        return root / folder.relative_to(stand_in) if folder.is_relative_to(stand_in) else folder


def _local_names(lock: Path) -> list[str]:
    """The packages of a ``uv.lock`` that are in the checkout."""
    packages = read_toml(lock).get("package")
    found = [item for item in packages if isinstance(item, dict)] if isinstance(packages, list) else []
    return [str(item.get("name")) for item in found if _LOCAL_KINDS & set(table(item, "source"))]


@attrs.frozen
class PylockEngine(UvProjectEngine):
    """``uv pip sync pylock.toml``."""

    name: str = "uv pip sync"

    def install(self, work: Work, python: Path) -> None:
        project = work.plan.project
        assert project is not None  # plans of this engine have one
        work.console.say(self._run([self.program, "--version"], work).last_line)
        argv = ["pip", "sync", "--python", str(python), *project.arguments]
        done = self.start([*argv, "--", "pylock.toml"], work, project.folder)
        check(done, work, project.places)
        self.seed(work, work.python, work.interpreter.minor)  # it removes what the file does not name, pip too
        packages = read_toml(project.folder / "pylock.toml").get("packages") or []
        names = {item.get("name") for item in packages if isinstance(item, dict)}
        manifest = Manifest.read(project.folder)
        if manifest is not None and manifest.is_uv_package and manifest.project.get("name") not in names:
            write_local(work.folder, [Local(str(manifest.project["name"]), ".")])
        if work.plan.lines:
            UvEngine.install(self, work, python)
