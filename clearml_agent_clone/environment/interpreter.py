"""Decide which interpreter a task gets. Never another version than the one it asks for, unless configured so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment.model import EnvironmentRequest, Interpreter
from clearml_agent_clone.environment.probe import Probe
from clearml_agent_clone.environment.report import HEADER
from clearml_agent_clone.environment.search import available, candidates, own_base
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import UserError

_PYTHON = re.compile(r"python(\d+(?:\.\d+){0,2})?$")
_VERSION = re.compile(r"\d+(?:\.\d+){0,2}$")
SHELLS = frozenset({"bash", "sh", "zsh"})


@attrs.frozen
class Choice:
    """The interpreter, or the version to install first; and what there is to say about it."""

    interpreter: Interpreter | None
    install: str = ""
    notes: tuple[str, ...] = ()


@attrs.frozen
class Wanted:
    """What the task asks for: a version, a file, or neither. ``firm`` when the task named it itself."""

    version: str = ""
    path: Path | None = None
    firm: bool = False
    origin: str = ""
    notes: tuple[str, ...] = ()


def choose_interpreter(request: EnvironmentRequest, settings: EnvironmentSettings, *, keep_virtual: bool) -> Choice:
    """Find the interpreter for ``request``.

    Args:
        request: the task.
        settings: the configuration.
        keep_virtual: take an interpreter inside a virtual environment as it is, instead of the one below it.

    Raises:
        UserError: code ``python-missing``; there is none of the version that is asked for.
    """
    probe = Probe(settings.state_dir / "interpreters.json", settings.environ)
    finder = _Finder(probe, settings.environ, keep_virtual)
    wanted = wanted_python(request, ignore=settings.ignore_requested_python_version)
    if keep_virtual and not wanted.firm:  # an environment that somebody has prepared: its version is what was meant
        wanted = Wanted(notes=wanted.notes)
    configured = _configured(settings, finder)
    if wanted.firm:
        choice = _firm(wanted, configured, finder, settings)
    elif configured is not None:
        choice = _instead(configured, wanted)
    else:
        choice = _soft(wanted, finder, settings)
    return attrs.evolve(choice, notes=wanted.notes + choice.notes)


def find_python(version: str, settings: EnvironmentSettings) -> Interpreter | None:
    """The best interpreter of ``version`` on this machine, or None."""
    probe = Probe(settings.state_dir / "interpreters.json", settings.environ)
    return _Finder(probe, settings.environ, keep_virtual=False).find(version)


def existing_python(request: EnvironmentRequest, settings: EnvironmentSettings) -> Choice:
    """The interpreter that packages are installed into when the task is to get no environment of its own.

    Raises:
        UserError: code ``python-missing``; the path that is configured is no interpreter.
    """
    if settings.install_into == "found":
        return choose_interpreter(request, settings, keep_virtual=True)
    probe = Probe(settings.state_dir / "interpreters.json", settings.environ)
    how = "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL"
    finder = _Finder(probe, settings.environ, keep_virtual=True)
    found = finder.ask(Path(settings.install_into).expanduser(), how)
    if found is None:
        raise _missing(settings.install_into, f"{how} names it", settings)
    return Choice(found)


def wanted_python(request: EnvironmentRequest, *, ignore: bool) -> Wanted:
    """What the task asks for: by ``script.binary``, else by the header that the SDK writes above its packages."""
    binary = (request.binary.split() or [""])[0]
    name = binary.rsplit("/", 1)[-1]
    match = _PYTHON.match(name)
    notes: tuple[str, ...] = ()
    if name and match is None and name not in SHELLS:
        notes = (f'script.binary "{binary}" is no Python and no shell: taken for python',)
    if ignore:
        return Wanted(notes=notes)
    path = Path(binary) if binary.startswith("/") and match else None
    version = match[1] or "" if match else ""
    if "." in version or path is not None:
        return Wanted(version=version, path=path, firm=True, origin=f'script.binary "{binary}"', notes=notes)
    header = HEADER.search(request.requirements.pip or "")
    if header:
        return Wanted(version=header[1], origin="recorded above the task's packages", notes=notes)
    return Wanted(notes=notes)


def _firm(wanted: Wanted, configured: Choice | None, finder: _Finder, settings: EnvironmentSettings) -> Choice:
    if wanted.path is not None:
        there = finder.ask(wanted.path, "the path that the task names")
        if there is not None and _fits(there.version, wanted.version):
            return Choice(there)
    if "." not in wanted.version:  # a path that is not here, and its name says nothing about the version
        note = f"{wanted.origin} is not on this machine"
        choice = configured or _soft(Wanted(), finder, settings)
        return attrs.evolve(choice, notes=(note, *choice.notes))
    if configured and configured.interpreter and _fits(configured.interpreter.version, wanted.version):
        return configured
    found = finder.find(wanted.version)
    if found is not None:
        return Choice(found)
    if settings.python_install:
        return Choice(None, install=wanted.version)
    raise _missing(wanted.version, f"the task asks for it by {wanted.origin}", settings)


def _instead(configured: Choice, wanted: Wanted) -> Choice:
    """What is configured, and a note when the list of packages was recorded with another version."""
    there = configured.interpreter
    if there is None or _fits(there.version, wanted.version):
        return configured
    note = f"agent.python_binary is used in place of Python {wanted.version}, {wanted.origin}"
    return attrs.evolve(configured, notes=(note, *configured.notes))


def _soft(wanted: Wanted, finder: _Finder, settings: EnvironmentSettings) -> Choice:
    if wanted.version:
        found = finder.find(wanted.version)
        if found is not None:
            return Choice(found)
        if settings.python_install:
            return Choice(None, install=wanted.version)
        raise _missing(wanted.version, f"it is {wanted.origin}", settings)
    if settings.default_python:
        found = finder.find(settings.default_python)
        if found is None:
            raise _missing(settings.default_python, "agent.default_python asks for it", settings)
        return Choice(found)
    own = own_base()
    found = finder.ask(own, "the agent's own") if own is not None else None
    if found is None:
        raise _missing("3", "no interpreter answered", settings)
    return Choice(found)


def _configured(settings: EnvironmentSettings, finder: _Finder) -> Choice | None:
    """The interpreter that ``agent.python_binary`` names: a path, a name such as ``python3.11``, or a version."""
    value = settings.python_binary.strip()
    if not value:
        return None
    how = "agent.python_binary"
    if "/" in value:
        found = finder.ask(Path(value).expanduser(), how)
    else:
        match = _PYTHON.match(value)
        version = (match[1] or "") if match else value if _VERSION.match(value) else ""
        found = finder.find(version) if "." in version else finder.named(value, how)
    if found is None:
        raise _missing(value, "agent.python_binary names it", settings)
    return Choice(found)


@attrs.frozen
class _Finder:
    probe: Probe
    environ: Mapping[str, str]
    keep_virtual: bool

    def find(self, version: str) -> Interpreter | None:
        for path, how in candidates(version, self.environ):
            found = self.ask(path, how)
            if found is not None and _fits(found.version, version):
                return found
        return None

    def named(self, name: str, how: str) -> Interpreter | None:
        for folder in self.environ.get("PATH", "").split(":"):
            place = Path(folder, name)
            if folder and place.is_file():
                found = self.ask(place, how)
                if found is not None:
                    return found
        return None

    def ask(self, path: Path, how: str) -> Interpreter | None:
        found = self.probe.ask(path)
        if found is not None and not self.keep_virtual and found.base != found.path:
            found = self.probe.ask(found.base)
        return None if found is None else attrs.evolve(found, found=how)


def _fits(version: str, wanted: str) -> bool:
    parts = wanted.split(".") if wanted else []
    return version.split(".")[: len(parts)] == parts


def _missing(version: str, why: str, settings: EnvironmentSettings) -> UserError:
    there = ", ".join(available(settings.environ)) or "none"
    return UserError(
        f"Python {version} is not on this machine: {why}; there is {there}",
        remedy=(
            "Install it, let the agent install it (agent.python_install: true), or let tasks run with another version "
            "(agent.ignore_requested_python_version: true)"
        ),
        code="python-missing",
    )
