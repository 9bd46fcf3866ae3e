"""Decide what a task gets whose repository is a poetry or uv project."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from clearml_agent_clone.environment.indexes import from_pip
from clearml_agent_clone.environment.keys import environment_key
from clearml_agent_clone.environment.model import (
    Declined,
    EnvironmentPlan,
    EnvironmentRequest,
    Indexes,
    Mode,
    Project,
)
from clearml_agent_clone.environment.projects.arguments import Arguments, poetry_arguments, uv_arguments
from clearml_agent_clone.environment.projects.find import Found, find_project
from clearml_agent_clone.environment.projects.manifest import count_packages, local_folders, names_package
from clearml_agent_clone.environment.projects.pythons import project_python
from clearml_agent_clone.environment.settings import EnvironmentSettings

ENGINES = {"poetry": "poetry", "uv": "uv sync", "pylock": "uv pip sync"}
_SEEDED = ("pip", "setuptools")
_LOOSE = re.compile(r"\bgit\s*=|\bgit\+|\bpath\s*=|\bworkspace\s*=|file://")
_LOOSE_LINE = re.compile(r"git\+|file:|^[./]")
_DIRECTORY = re.compile(r"^(?:\[packages\.directory\]|directory\s*=)", re.MULTILINE)


def plan_project(request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan | Declined:
    """The plan for the project files in the checkout, or why there is none.

    Raises:
        UserError: the interpreter that the task asks for is not there, or not what the project is made for; a project
            file is broken.
    """
    kind, root, mine = settings.manager, request.repository_root, settings.projects
    if root is None:
        return Declined(f"{kind} files of the repository come first, if it has them" if request.has_repository else "")
    first = mine.poetry_in_working_dir if kind == "poetry" else mine.uv_in_working_dir
    found = find_project(kind, request, root, working_dir_first=first)
    if isinstance(found, Declined):
        return found
    if found.kind == "poetry":
        arguments = poetry_arguments(mine.poetry_arguments)
    else:
        arguments = uv_arguments(mine.uv_sync_arguments, mine.uv_run_arguments)
    plan = _plan(found, arguments, request, settings)
    choice = project_python(request, found, settings)
    plan = attrs.evolve(
        plan,
        interpreter=choice.interpreter,
        install_python=choice.install,
        notes=(*choice.notes, *plan.notes),
    )
    if plan.mode is Mode.STORED and choice.interpreter is not None:
        plan = attrs.evolve(plan, key=environment_key(plan, choice.interpreter, settings))
    return plan


def _plan(
    found: Found, arguments: Arguments, request: EnvironmentRequest, settings: EnvironmentSettings
) -> EnvironmentPlan:
    lines = (*arguments.lines, *(name for name in request.extra if not _has(found, name)))
    mode, why = _mode(found, lines, settings)
    return EnvironmentPlan(
        mode,
        settings,
        reason=why,
        source=_source(found),
        lines=tuple(dict.fromkeys(lines)),
        engine=ENGINES[found.kind],
        engine_reason=settings.projects.reason,
        indexes=_indexes(found, arguments, settings),
        notes=(*found.notes, *_notes(request), *arguments.notes),
        named=tuple(name for name in _SEEDED if _has(found, name)),
        root=request.repository_root,
        task_id=request.task_id,
        project=_project(found, arguments, settings),
    )


def _project(found: Found, arguments: Arguments, settings: EnvironmentSettings) -> Project:
    files = [file for file in (found.lock, found.manifest.file if found.manifest else None) if file is not None]
    if found.kind == "uv" and found.lock is not None:
        members = (found.lock.parent / place / "pyproject.toml" for place in local_folders(found.lock))
        files += [file for file in members if file.is_file() and file not in files]
    mine = settings.projects
    told = {
        "poetry": (
            *mine.poetry_version,
            *(("root",) if arguments.root else ()),
            *(("local",) if arguments.local else ()),
        ),
        "uv": ("locked" if mine.locked else "", "best-match" if mine.best_match else ""),
        "pylock": (),
    }[found.kind]
    return Project(
        found.kind,
        found.folder,
        tuple(files),
        arguments.passed if arguments.packages else ("--only-root", *arguments.passed),
        text=" ".join(part for part in told if part),
        places=_places(found),
        env_files=tuple(found.folder / file for file in arguments.env_files),
    )


def _places(found: Found) -> str:
    return {
        "poetry": "the sources in pyproject.toml" if found.manifest and found.manifest.poetry.get("source") else "PyPI",
        "uv": f"where {found.lock.name} says" if found.lock else "",
        "pylock": "where pylock.toml says",
    }[found.kind]


def _source(found: Found) -> str:
    if found.lock is None:
        return f"{found.named}, without a lock file: {found.kind} chooses the versions"
    number = count_packages(found.lock)
    return f"{found.named} ({number} package{'' if number == 1 else 's'})"


def _notes(request: EnvironmentRequest) -> tuple[str, ...]:
    recorded = [
        line for line in (request.requirements.pip or "").splitlines() if line.strip() and not line.startswith("#")
    ]
    if not recorded:
        return ()
    lines = "the line" if len(recorded) == 1 else f"the {len(recorded)} lines"
    return (f"{lines} recorded with the task {'is' if len(recorded) == 1 else 'are'} not used: the project decides",)


def _mode(found: Found, lines: tuple[str, ...], settings: EnvironmentSettings) -> tuple[Mode, str]:
    if settings.store_dir is None:
        return Mode.PRIVATE, "agent.venvs_cache.path is empty"
    loose_line = next((line for line in lines if _LOOSE_LINE.search(line)), "")
    if loose_line:
        return Mode.PRIVATE, f'what "{loose_line}" contains may change'
    if found.lock is None:
        text = found.manifest.file.read_text(encoding="utf-8", errors="replace") if found.manifest else ""
        loose = _LOOSE.search(text)
        if loose:
            return Mode.PRIVATE, f'without a lock file, what "{loose[0].strip()}" leads to may change'
    elif found.kind == "pylock" and _DIRECTORY.search(_read(found.lock)):
        return Mode.PRIVATE, "pylock.toml names folders of the checkout"
    return Mode.STORED, ""


def _has(found: Found, name: str) -> bool:
    return found.lock is not None and names_package(found.lock, name)


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def _indexes(found: Found, arguments: Arguments, settings: EnvironmentSettings) -> Indexes:
    """Poetry reads its own sources. A lock file of uv says itself where its packages are; pip's indexes are for a
    project without one, and what pip says about certificates and proxies for all.
    """
    pip, _ = from_pip(settings.environ)
    if found.kind == "poetry":
        return Indexes(certificate=pip.certificate, proxy=pip.proxy)
    told = arguments.indexes
    own_default = found.manifest is not None and "index" in found.manifest.table("tool", "uv")
    bare = attrs.evolve(pip, main="", extra=(), find_links=(), none=False, constraints=())
    base = bare if found.lock is not None or own_default else attrs.evolve(pip, constraints=())
    return attrs.evolve(
        base,
        main=told.main or base.main,
        extra=(*settings.extra_index_url, *base.extra, *told.extra),
        find_links=(*base.find_links, *told.find_links),
    )
