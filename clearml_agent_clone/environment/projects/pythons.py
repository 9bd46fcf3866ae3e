"""The interpreter for a project: what the task asks for, as long as the project is made for it."""

from __future__ import annotations

from clearml_agent_clone.environment.interpreter import Choice, choose_interpreter, find_python, wanted_python
from clearml_agent_clone.environment.model import EnvironmentRequest
from clearml_agent_clone.environment.projects.manifest import Manifest
from clearml_agent_clone.environment.projects.versions import allows, lowest_minor
from clearml_agent_clone.environment.search import available
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import UserError


def project_python(request: EnvironmentRequest, manifest: Manifest | None, settings: EnvironmentSettings) -> Choice:
    """Choose the interpreter. One that the task did not name itself gives way to one that the project allows.

    Raises:
        UserError: code ``python-conflict``; the task names one that the project forbids. Code ``python-missing``.
    """
    choice = choose_interpreter(request, settings, keep_virtual=False)
    needed = manifest.requires_python if manifest is not None else ""
    version = choice.interpreter.version if choice.interpreter is not None else choice.install
    if not needed or allows(needed, version):
        return choice
    wanted = wanted_python(request, ignore=settings.ignore_requested_python_version)
    if wanted.firm:
        raise UserError(
            f"pyproject.toml requires Python {needed}, and the task asks for {version} by {wanted.origin}",
            remedy=(
                "Change script.binary of the task, or let the project decide "
                "(agent.ignore_requested_python_version: true)"
            ),
            code="python-conflict",
        )
    note = f"pyproject.toml requires Python {needed}: not {version}"
    for minor in reversed(available(settings.environ)):
        found = find_python(minor, settings)
        if found is not None and allows(needed, found.version):
            return Choice(found, notes=(*choice.notes, note))
    install = lowest_minor(needed)
    if settings.python_install and install:
        return Choice(None, install=install, notes=(*choice.notes, note))
    there = ", ".join(available(settings.environ)) or "none"
    raise UserError(
        f"pyproject.toml requires Python {needed}, which is not on this machine; there is {there}",
        remedy="Install it, or let the agent install it (agent.python_install: true)",
        code="python-missing",
    )
