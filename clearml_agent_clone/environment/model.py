"""The values that the room takes and gives."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment.addresses import secrets_in

if TYPE_CHECKING:
    from clearml_agent_clone.environment.settings import EnvironmentSettings
    from clearml_agent_clone.environment.store import Lease
    from clearml_agent_clone.environment.torch import Torch


@attrs.frozen
class EnvironmentRequest:
    """What a task says about its environment.

    Args:
        requirements: the packages recorded with the task.
        binary: ``script.binary`` as recorded: ``python3.11``, a path, ``bash``.
        repository_root: the checkout; None before there is one (a dry run) and for a script without repository.
        script_dir: the folder of the script inside the checkout; ``requirements.txt`` files are looked for from the
            root down to it.
        has_repository: the task has a repository, although ``repository_root`` may not be there yet.
        extra: packages that the way of running needs (``nbconvert`` for a notebook), added unless the task names them.
        image: the task's container image, which may name a prepared conda environment.
    """

    requirements: Requirements = attrs.Factory(Requirements)
    binary: str = ""
    repository_root: Path | None = None
    script_dir: Path | None = None
    task_id: str = ""
    has_repository: bool = False
    extra: tuple[str, ...] = ()
    image: str = ""


@attrs.frozen
class Interpreter:
    """A Python interpreter as it described itself.

    Args:
        path: how it is started.
        real_path: the same with links followed.
        version: ``3.11.7``.
        build: implementation, compiler and build date; two interpreters of one version may differ in it.
        platform: machine and C library: ``linux-x86_64 glibc-2.36``.
        abi: suffix of extension modules it can load.
        base: the interpreter it borrows from when it lives in a virtual environment, else ``path``.
        packages: its ``site-packages`` folders.
        found: how it was found, for the console.
        inside: it is in a container's image, and so are the paths.
        beside: what the packages that it brings are known by, where they cannot be looked at.
    """

    path: Path
    real_path: Path
    version: str
    build: str
    platform: str
    abi: str
    base: Path
    packages: tuple[str, ...] = ()
    found: str = ""
    inside: bool = False
    beside: str = ""

    @property
    def minor(self) -> str:
        """``3.11``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def identity(self) -> tuple[str, ...]:
        """What an environment made with this interpreter depends on."""
        known = (str(self.real_path), self.version, self.build, self.platform, self.abi)
        return (*known, "inside", self.beside) if self.inside else known


@attrs.frozen
class Indexes:
    """Where packages come from. URLs may carry credentials: show them through ``shown`` only.

    Args:
        main: the index; empty for PyPI.
        extra: further indexes, equal in rank.
        find_links: folders and pages with files.
        none: use ``find_links`` only.
        trusted: hosts whose certificate is not checked.
        certificate: file of certificate authorities.
        timeout: seconds, as text; empty for the engine's default.
        proxy: URL of the proxy that pip was told to use.
        constraints: files that pip was told to obey.
        strategy: how uv chooses among several, where its own variable says so; empty for what pip does.
        hidden: what stands for variables in the above, and the names to show in its place.
    """

    main: str = ""
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    none: bool = False
    trusted: tuple[str, ...] = ()
    certificate: str = ""
    timeout: str = ""
    proxy: str = ""
    constraints: tuple[str, ...] = ()
    strategy: str = ""
    hidden: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """For the console, without credentials."""
        places = [] if self.none else [self.main or "PyPI", *self.extra]
        text = ", ".join([*places, *self.find_links]) or "nowhere"
        for value, name in self.hidden:
            text = text.replace(value, name)
        return masked(text)


class Mode(enum.Enum):
    """What is done about the environment."""

    STORED = "stored"  # built once, kept, used by every task that needs the same
    PRIVATE = "private"  # built for this task alone, because its content is not known from the requirements
    EXISTING = "existing"  # packages go into an interpreter that is there
    OWN = "own"  # the agent's own interpreter as it is
    NONE = "none"  # the task needs no Python


@attrs.frozen
class Project:
    """Files in the checkout that say what is installed, in place of requirement lines.

    Args:
        kind: what reads them: ``poetry``, ``uv``, ``pylock`` or ``conda``.
        folder: where they are, and where the engine runs.
        files: those whose content decides what is installed; their digests are part of the environment's key.
        arguments: of the engine, from the configuration; part of the key.
        text: what the engine is handed in place of a file; part of the key.
        places: where the packages come from, for the console; empty when the plan's indexes say it.
        env_files: files of variables that each task is given.
    """

    kind: str
    folder: Path
    files: tuple[Path, ...] = ()
    arguments: tuple[str, ...] = ()
    text: str = ""
    places: str = ""
    env_files: tuple[Path, ...] = ()


@attrs.frozen
class Stage:
    """Requirement lines that are installed in one go, before or after others.

    A stage may repeat lines of an earlier one: what is there already and fits is left as it is. Constraints and flags
    of the plan hold in every stage. Whether a build sees what earlier stages installed is the engine's matter.

    Args:
        optional: a failure is told in the console, and the next stage goes on.
        reason: which rule made it a stage of its own; empty for the main one.
    """

    lines: tuple[str, ...]
    optional: bool = False
    reason: str = ""


@attrs.frozen
class Declined:
    """A package manager that was asked for has nothing to do for this task. ``note`` says why; empty says nothing."""

    note: str = ""


@attrs.frozen
class EnvironmentPlan:
    """What will be installed where, and why. Made without side effects; ``describe`` prints it.

    Args:
        source: where the requirements come from, for the console.
        interpreter: None when there is none to use (``Mode.NONE``) or when ``install_python`` has to come first.
        install_python: version to install before anything else; empty when the interpreter is there.
        lines: the requirements as the engine gets them; those of all stages together.
        stages: the same in the order in which they are installed; empty when all are installed in one go.
        constraints: lines of constraint files.
        engine_flags: what requirement files say with pip's flags, such as ``--pre``.
        pip: the pip that goes into the environment to install the packages, as requirement lines with markers; empty
            for the one that virtualenv carries.
        torch: the builds of PyTorch's packages; None takes them like all others.
        engine_reason: why this engine; empty for the default one.
        indexes: where packages come from, pip's own configuration included.
        pip_indexes: the same without pip's own configuration, for a real pip, which reads that by itself.
        key: name of the environment in the store; None when it is not to be kept or not known yet.
        notes: what was changed or left out, and why; one line each.
        options: what the task's own list says of indexes, as it is recorded with what was installed.
        named: normal names of the packages that the requirements name.
        pins: those of ``lines`` that ask for one exact version.
        root: the checkout, where relative paths lead.
        project: the files that take the place of ``lines``; None for plain requirements.
        brings_python: the engine installs the interpreter too, and ``interpreter`` is None.
    """

    mode: Mode
    settings: EnvironmentSettings = attrs.field(repr=False, eq=False)
    reason: str = ""
    source: str = ""
    interpreter: Interpreter | None = None
    install_python: str = ""
    lines: tuple[str, ...] = ()
    stages: tuple[Stage, ...] = ()
    constraints: tuple[str, ...] = ()
    engine: str = "uv"
    engine_flags: tuple[str, ...] = ()
    engine_reason: str = ""
    pip: tuple[str, ...] = ()
    torch: Torch | None = None
    indexes: Indexes = attrs.Factory(Indexes)
    pip_indexes: Indexes = attrs.Factory(Indexes)
    key: str | None = None
    notes: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    pins: tuple[str, ...] = ()
    root: Path | None = None
    task_id: str = ""
    project: Project | None = None
    brings_python: bool = False

    @property
    def is_conda(self) -> bool:
        """Whether packages come from conda, and pip's only after them."""
        return self.project is not None and self.project.kind == "conda"

    @property
    def is_prepared(self) -> bool:
        """Whether somebody else has installed what there is."""
        return self.is_conda and self.project is not None and not self.project.places

    @property
    def secrets(self) -> frozenset[str]:
        """What the installing programs know and nobody must see."""
        places = (self.indexes.main, *self.indexes.extra, *self.indexes.find_links)
        told = secrets_in((*self.lines, *self.constraints, *places), self.settings.environ)
        return told | {value for value, _ in self.indexes.hidden}

    def describe(self) -> list[str]:
        """Lines for the console and the dry run; URLs are shown without credentials."""
        lines = [f"Python: {self._python()}"]
        if self.mode not in {Mode.NONE, Mode.OWN}:
            lines.append(f"Packages: {self.source}")
            lines += [f"  {masked(note)}" for note in self.notes]
            why = f" ({self.engine_reason})" if self.engine_reason else ""
            if self.lines or (self.project and not self.is_prepared):
                places = self.project.places if self.project else ""
                lines.append(f"Installed by: {self.engine}{why}, from {places or self.indexes.shown}")
            lines.append(f"Environment: {self._where()}")
        else:
            lines += [f"  {masked(note)}" for note in self.notes]
        return lines

    def _python(self) -> str:
        if self.mode is Mode.NONE:
            return f"none needed ({self.reason})"
        if self.mode is Mode.OWN:
            return f"the agent's own ({self.reason})"
        if self.brings_python:
            return f"installed by {self.engine}"
        if self.interpreter is None:
            return f"{self.install_python}, to be installed by uv"
        return f"{self.interpreter.version} at {self.interpreter.path} ({self.interpreter.found})"

    def _where(self) -> str:
        if self.mode is Mode.EXISTING:
            return f"none of its own, packages go into the interpreter above ({self.reason})"
        if self.mode is Mode.PRIVATE:
            return f"for this task alone ({masked(self.reason)})"
        return f"kept as {self.key}" if self.key else "kept"


@attrs.frozen
class EnvironmentResult:
    """An environment that is ready.

    Args:
        python: the interpreter to run; None when the task needs none.
        bin_dir: its folder of programs; None when there is no environment of the task's own.
        reused: it was there already.
        installed: ``name==version`` lines, direct references restored, as ``pip freeze`` would list them.
        variables: to add to the environment of the user's process.
        seconds: how long each step took.
        engine: what installed the packages; empty when nothing had to be installed.
        lease: keeps the environment from being removed; release it when the user's process is gone.
        whole: the environment as a set of ``script.requirements``, to be recorded in place of ``installed``.
    """

    python: Path | None = None
    bin_dir: Path | None = None
    reused: bool = False
    installed: tuple[str, ...] = ()
    variables: Mapping[str, str] = attrs.Factory(dict)
    seconds: Mapping[str, float] = attrs.Factory(dict)
    engine: str = ""
    lease: Lease | None = attrs.field(default=None, repr=False, eq=False)
    whole: Mapping[str, object] | None = None


_USER_INFO = re.compile(r"(://)[^/\s]+@")
_QUERY = re.compile(r"(://[^\s?#]*\?)[^\s#]+")


def masked(text: str) -> str:
    """``text`` with the user names and passwords of its URLs hidden, and their queries, which may be signed."""
    return _QUERY.sub(r"\1****", _USER_INFO.sub(r"\1****@", text))
