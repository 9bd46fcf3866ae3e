"""The interpreter for a project: what the task asks for, as long as the project is made for it."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from clearml_agent_clone.environment.interpreter import Choice, choose_interpreter, find_python, wanted_python
from clearml_agent_clone.environment.model import EnvironmentRequest
from clearml_agent_clone.environment.projects.find import Found
from clearml_agent_clone.environment.projects.versions import allows, lowest_minor
from clearml_agent_clone.environment.search import available
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import UserError

_VERSION = re.compile(r"^\s*(?:cpython@|cpython-|python)?(3\.\d+(?:\.\d+)?)\s*$", re.MULTILINE)


def project_python(request: EnvironmentRequest, project: Found, settings: EnvironmentSettings) -> Choice:
    """Choose the interpreter. One that the task did not name itself gives way to one that the project allows.

    Raises:
        UserError: code ``python-conflict``; the task names one that the project forbids. Code ``python-missing``.
    """
    wanted = wanted_python(request, ignore=settings.ignore_requested_python_version)
    told = "" if wanted.version or wanted.path or settings.python_binary else _told(project)
    choice = choose_interpreter(request, settings, keep_virtual=False)
    if told:
        choice = _as_told(told, choice, settings)
    needed = project.manifest.requires_python if project.manifest is not None else ""
    version = choice.interpreter.version if choice.interpreter is not None else choice.install
    if not needed or allows(needed, version):
        return choice
    if wanted.firm:
        raise UserError(
            f"pyproject.toml requires Python {needed}, and the task asks for {version} by {wanted.origin}",
            remedy=(
                "Change script.binary of the task, or let the project decide "
                "(agent.ignore_requested_python_version: true)"
            ),
            code="python-conflict",
        )
    return _another(
        needed,
        attrs.evolve(choice, notes=(*choice.notes, f"pyproject.toml requires Python {needed}: not {version}")),
        settings,
    )


def _told(project: Found) -> str:
    """The version in ``.python-version``, which uv obeys; empty when there is none."""
    if project.kind == "poetry":
        return ""
    for folder in (project.folder, project.root):
        match = _VERSION.search(_read(folder / ".python-version"))
        if match:
            return match[1]
    return ""


def _as_told(version: str, choice: Choice, settings: EnvironmentSettings) -> Choice:
    note = f".python-version asks for {version}"
    found = find_python(version, settings)
    if found is not None:
        return Choice(found, notes=(note,))
    if settings.python_install:
        return Choice(None, install=version, notes=(note,))
    return attrs.evolve(choice, notes=(*choice.notes, f"{note}, which is not on this machine"))


def _another(needed: str, choice: Choice, settings: EnvironmentSettings) -> Choice:
    """The highest version on this machine that the project allows, else one to install."""
    for minor in reversed(available(settings.environ)):
        found = find_python(minor, settings)
        if found is not None and allows(needed, found.version):
            return Choice(found, notes=choice.notes)
    install = lowest_minor(needed)
    if settings.python_install and install:
        return Choice(None, install=install, notes=choice.notes)
    there = ", ".join(available(settings.environ)) or "none"
    raise UserError(
        f"pyproject.toml requires Python {needed}, which is not on this machine; there is {there}",
        remedy="Install it, or let the agent install it (agent.python_install: true)",
        code="python-missing",
    )


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
