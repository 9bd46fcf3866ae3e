"""Poetry, from an environment of its own, installs a project's dependencies into the task's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from clearml_agent_clone.environment.addresses import without_secrets
from clearml_agent_clone.environment.engines import Engine, Work
from clearml_agent_clone.environment.engines.project_runs import ask_project, check, run_project
from clearml_agent_clone.environment.engines.running import Command
from clearml_agent_clone.environment.projects.local import Local, write_local
from clearml_agent_clone.environment.projects.manifest import Manifest
from clearml_agent_clone.environment.projects.mirror import mirror
from clearml_agent_clone.environment.projects.tools import poetry_lines, tool
from clearml_agent_clone.errors import UserError

_TO_INSTALL = re.compile(r"^\s*[-•]\s+(?:Installing|Updating) (\S+) \(\S+ (/[^)\n]*)\)\s*$", re.MULTILINE)
_PLACES = "the project's sources"
_DIRECTORY = re.compile(r'^type = "directory"$', re.MULTILINE)


@attrs.frozen
class PoetryEngine:
    """``poetry install``, without what is in the checkout. ``base`` makes the environment and installs further lines."""

    base: Engine
    name: str = "poetry"

    def create(self, work: Work) -> None:
        self.base.create(work)

    def install(self, work: Work, python: Path) -> None:
        project = work.plan.project
        assert project is not None  # plans of this engine have one
        told = project.text.split()
        packages: list[Local] = []
        if "--only-root" not in project.arguments:
            with _program(work) as program:
                packages = _Poetry(work, program, project.folder).install(local="local" in told)
        manifest = Manifest.read(project.folder)
        if "root" in told and manifest is not None and manifest.is_poetry_package:
            name = str(manifest.project.get("name") or manifest.poetry.get("name") or "")
            packages += [Local(name, ".")] if name else []
        write_local(work.folder, packages)
        if work.plan.lines:
            self.base.install(work, python)


@contextmanager
def _program(work: Work) -> Iterator[str]:
    """The poetry program while the block runs; where it cannot be installed and none is asked for, that on PATH."""
    versions = work.settings.projects.poetry_version
    try:
        made = tool(poetry_lines(versions), work.settings, work.console, work.cancel)
    except UserError as error:
        found = None if versions else shutil.which("poetry", path=work.settings.environ.get("PATH", ""))
        if found is None:
            message = f"poetry itself cannot be installed: {error.message}"
            raise UserError(message, remedy=error.remedy, code="packages-failed") from error
        work.console.say(f"Poetry cannot be installed ({error.message}): {found} is used")
        yield found
        return
    try:
        assert made.bin_dir is not None  # tools always have an environment
        version = next((line for line in made.installed if line.startswith("poetry==")), "poetry")
        work.console.say(f"{version.replace('==', ' ')}, kept in {made.bin_dir.parent}")
        yield str(made.bin_dir / "poetry")
    finally:
        if made.lease is not None:
            made.lease.release()


@attrs.frozen
class _Poetry:
    """One installation: ``program`` is poetry, ``folder`` the project in the checkout."""

    work: Work
    program: str
    folder: Path

    def install(self, *, local: bool) -> list[Local]:
        """Install what is not in the checkout; returns what is, if ``local`` asks for that."""
        lock = self.folder / "poetry.lock"
        place = self.folder
        if not lock.is_file():
            root = self.work.plan.root or self.folder
            place = mirror(root, self.folder, self.work.scratch / "checkout")
        done = run_project(self._command("--no-directory", place=place), self.work, _PLACES)
        check(done, self.work, _PLACES)
        if not local or not _DIRECTORY.search((place / "poetry.lock").read_text(encoding="utf-8")):
            return []
        pending = ask_project(self._command("--dry-run", place=place), self.work)
        check(pending, self.work, _PLACES)
        return [
            Local.at(name, _mapped(Path(path), place, self.folder), self.folder)
            for name, path in _TO_INSTALL.findall(pending.output)
        ]

    def _command(self, *more: str, place: Path) -> Command:
        project = self.work.plan.project
        assert project is not None  # plans of this engine have one
        argv = [self.program, "install", "--no-interaction", "--no-ansi", "--no-root", *more, *project.arguments]
        return Command(argv, self._environment(), place)

    def _environment(self) -> dict[str, str]:
        """Poetry installs into the environment that ``VIRTUAL_ENV`` names. Credentials travel in variables."""
        work = self.work
        certificate, proxy = work.plan.indexes.certificate, work.plan.indexes.proxy
        more = {
            "VIRTUAL_ENV": str(work.folder),
            "POETRY_VIRTUALENVS_CREATE": "false",
            "POETRY_VIRTUALENVS_IN_PROJECT": "false",
            **({"REQUESTS_CA_BUNDLE": certificate} if certificate else {}),
            **({"HTTPS_PROXY": proxy} if proxy else {}),
            **credentials(Manifest.read(self.folder), work.settings.extra_index_url),
        }
        environ = work.settings.environ
        # A keyring asks a desktop that is not there, and waits for its answer
        more["PYTHON_KEYRING_BACKEND"] = environ.get("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
        # What whoever started the agent has set for these stays
        set_before = {name for name in environ if name.startswith(("POETRY_HTTP_", "REQUESTS_", "HTTPS_"))}
        return work.variables({name: value for name, value in more.items() if name not in set_before})


def credentials(manifest: Manifest | None, urls: tuple[str, ...]) -> dict[str, str]:
    """The variables that give poetry's sources the credentials that the agent has for the same index."""
    known = {}
    for url in urls:
        parts = urlsplit(url)
        if parts.username:
            known[without_secrets(url).rstrip("/")] = (unquote(parts.username), unquote(parts.password or ""))
    found = {}
    for source in (manifest.poetry.get("source") if manifest else None) or ():
        if isinstance(source, dict) and (mine := known.get(str(source.get("url", "")).rstrip("/"))):
            name = re.sub(r"[^A-Z0-9]", "_", str(source.get("name", "")).upper())
            found[f"POETRY_HTTP_BASIC_{name}_USERNAME"], found[f"POETRY_HTTP_BASIC_{name}_PASSWORD"] = mine
    return found


def _mapped(path: Path, place: Path, folder: Path) -> Path:
    """``path`` in the checkout, if it is one in what stands for it."""
    inner = path.resolve()
    mirrored = place.resolve()
    return folder / inner.relative_to(mirrored) if place != folder and inner.is_relative_to(mirrored) else inner
