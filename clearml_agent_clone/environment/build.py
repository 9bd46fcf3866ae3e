"""Do what was planned: find the environment in the store, or build it there."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from clearml_agent_clone.environment.conda import finish_conda
from clearml_agent_clone.environment.keys import environment_key
from clearml_agent_clone.environment.model import EnvironmentPlan, EnvironmentResult, Interpreter, Mode
from clearml_agent_clone.environment.projects import add_checkout
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.store import FOLDER, Busy, Lease, Meta, Store
from clearml_agent_clone.environment.torch import TorchIndexGone, given_up, settled
from clearml_agent_clone.environment.upkeep import Bounds
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir, slug
from clearml_agent_clone.util.process import Cancel, Console


def build_environment(plan: EnvironmentPlan, console: Console, cancel: Cancel | None = None) -> EnvironmentResult:
    """Make the environment of ``plan`` ready, or find it ready.

    The result's lease is to be released when the user's process is gone.

    Raises:
        UserError: code ``packages-failed`` or ``python-missing``.
        Cancelled: ``cancel`` was set; nothing half-made is left.
    """
    seconds: dict[str, float] = {}
    with _timed(seconds, "total"):
        try:
            result = _build(plan, console, cancel, seconds)
        except TorchIndexGone as gone:
            plan = given_up(plan, plan.torch.probe if plan.torch else "", gone.message, console)
            result = _build(plan, console, cancel, seconds)
        if plan.is_conda:
            result = finish_conda(plan, result)
        elif plan.project is not None:
            result = add_checkout(plan, result, console, cancel)
    listed = (*plan.options, *result.installed) if result.installed else ()
    return attrs.evolve(result, seconds=seconds, installed=listed)


def hold(python: Path, settings: EnvironmentSettings) -> Lease | None:
    """Lease the environment that ``python`` belongs to, for a runner that takes over a task from another.

    None when it is not an environment of a store, or gone.
    """
    folder = python.parent.parent.parent
    if folder.parent.name != FOLDER or (meta := Meta.read(folder)) is None:
        return None
    try:
        lease = open_store(folder.parent, settings, keep=meta.keep).hold(folder)
    except (FileNotFoundError, UserError):  # gone, or on a file system without locks: then nobody removes it either
        return None
    if lease is not None and python.parent.parent != lease.env:
        lease.layer = python.parent.parent
    return lease


def _build(
    plan: EnvironmentPlan, console: Console, cancel: Cancel | None, seconds: dict[str, float]
) -> EnvironmentResult:
    if plan.mode is Mode.NONE:
        return EnvironmentResult()
    if plan.mode is Mode.OWN:
        return EnvironmentResult(python=Path(sys.executable), reused=True)
    if plan.interpreter is None and not plan.brings_python:
        with _timed(seconds, "python"):
            plan = _with_python(plan, console, cancel)
    if plan.mode is Mode.EXISTING:
        assert plan.interpreter is not None  # such a plan has one, or _with_python saw to it
        return _install_into(plan, plan.interpreter, console, cancel, seconds)
    if plan.mode is Mode.PRIVATE:
        return _private(plan, console, cancel, seconds)
    kept = _kept(plan, console, cancel, seconds)
    if isinstance(kept, EnvironmentResult):
        return kept
    console.say(f"The environment is made for this task alone: {kept}")
    return _private(plan, console, cancel, seconds)


def _kept(
    plan: EnvironmentPlan, console: Console, cancel: Cancel | None, seconds: dict[str, float]
) -> EnvironmentResult | str:
    """The environment in the store, found or built; or why it cannot be there."""
    settings = plan.settings
    key = plan.key or environment_key(plan, plan.interpreter, settings)
    shared = open_store(store_folder(settings), settings, keep=True)
    if why := shared.foreign():
        return why
    with _timed(seconds, "lookup"):
        there = shared.lease(key, console)
    if there is not None:
        return _ready(there, reused=True)
    if why := shared.closed() or shared.short():
        return why
    sure = settled(plan, console, cancel)
    if sure.torch is None and plan.torch is not None:
        return _kept(sure, console, cancel, seconds)  # it is another environment, which may be there
    make = _maker(plan, key, console, cancel, seconds)
    try:
        lease, built = shared.build(key, make, console, cancel, settings.lock_timeout)
    except Busy as error:
        return error.message
    if built:
        shared.evict(spare=lease.folder)
    return _ready(lease, reused=not built)


def _private(
    plan: EnvironmentPlan, console: Console, cancel: Cancel | None, seconds: dict[str, float]
) -> EnvironmentResult:
    plan = settled(plan, console, cancel)
    interpreter, settings = plan.interpreter, plan.settings
    key = f"{f'py{interpreter.minor}' if interpreter else plan.engine}-task-{slug(plan.task_id)}"
    own = open_store(own_folder(settings), settings, keep=False)
    lease, built = own.build(key, _maker(plan, key, console, cancel, seconds), console, cancel)
    return _ready(lease, reused=not built)


def store_folder(settings: EnvironmentSettings) -> Path:
    """Where environments are that are kept."""
    return (settings.store_dir or settings.builds_dir) / FOLDER


def containers_folder(settings: EnvironmentSettings) -> Path:
    """What all environments for containers and the caches they are made from are below: one folder, for one mount.

    Its name is short, because the first line of a program that names its interpreter holds 127 bytes.
    """
    return (settings.store_dir or settings.builds_dir) / "_temp.inside"


def for_containers(settings: EnvironmentSettings, library: str) -> EnvironmentSettings:
    """``settings`` with the folders of containers whose machine and C library are ``library``.

    What is built from source fits one C library, and uv does not tell them apart: each has a cache of its own.
    """
    base = containers_folder(settings)
    return attrs.evolve(
        settings,
        store_dir=base if settings.store_dir is not None else None,
        builds_dir=base / "tasks",
        uv_cache_dir=base / f"cache-{slug(library).lower()}" if settings.uv_cache_dir is not None else None,
    )


def own_folder(settings: EnvironmentSettings) -> Path:
    """Where environments are that serve one task."""
    return settings.builds_dir / FOLDER


def _ready(lease: Lease, *, reused: bool) -> EnvironmentResult:
    return EnvironmentResult(
        python=lease.env / "bin" / "python",
        bin_dir=lease.env / "bin",
        reused=reused,
        installed=lease.meta.installed,
        variables=lease.meta.variables or {"VIRTUAL_ENV": str(lease.env)},
        engine="" if reused else lease.meta.engine,
        lease=lease,
    )


def _with_python(plan: EnvironmentPlan, console: Console, cancel: Cancel | None) -> EnvironmentPlan:
    from clearml_agent_clone.environment.interpreter import find_python  # noqa: PLC0415 - only builds need it
    from clearml_agent_clone.environment.uv_tools import install_python  # noqa: PLC0415 - only builds need it

    install_python(plan.install_python, plan.settings, console, cancel)
    found = find_python(plan.install_python, plan.settings)
    if found is None:
        raise UserError(
            f"Python {plan.install_python} was installed by uv and does not start",
            remedy="Run it by hand to see why: uv python find " + plan.install_python,
            code="python-missing",
        )
    return attrs.evolve(plan, interpreter=found)


def _maker(
    plan: EnvironmentPlan, key: str, console: Console, cancel: Cancel | None, seconds: dict[str, float]
) -> Callable[[Path], Meta]:
    def make(env: Path) -> Meta:
        from clearml_agent_clone.environment.engines import Work  # noqa: PLC0415 - not needed on a hit
        from clearml_agent_clone.environment.install import make_environment  # noqa: PLC0415 - not needed on a hit

        scratch = private_dir(env.parent / "scratch")  # on the disk of the environment, so that files can be linked
        work = Work(plan, plan.interpreter, env, scratch, console, cancel, seconds)
        engine = make_environment(work)
        shutil.rmtree(scratch, ignore_errors=True)
        with _timed(seconds, "list"):
            installed = _installed(
                plan, plan.interpreter, [str(site) for site in env.glob("lib/python*/site-packages")]
            )
        python = str(plan.interpreter.path) if plan.interpreter else ""
        return Meta(key=key, installed=installed, engine=engine, python=python, variables=work.told)

    return make


def _installed(plan: EnvironmentPlan, interpreter: Interpreter | None, folders: list[str]) -> tuple[str, ...]:
    if plan.is_conda:
        return ()  # these are listed where they are written back, which is rare
    from clearml_agent_clone.environment.report import (  # noqa: PLC0415 - not needed on a hit
        list_installed,
        written_addresses,
    )

    below = interpreter.packages if interpreter and plan.settings.system_site_packages else ()
    written = written_addresses(plan.lines, plan.settings.environ)
    return list_installed([*folders, *below], plan.named, plan.root, written)


def _install_into(
    plan: EnvironmentPlan, interpreter: Interpreter, console: Console, cancel: Cancel | None, seconds: dict[str, float]
) -> EnvironmentResult:
    from clearml_agent_clone.environment.engines import Work  # noqa: PLC0415 - rare
    from clearml_agent_clone.environment.install import install_packages  # noqa: PLC0415 - rare

    plan = settled(plan, console, cancel)
    engine = ""
    told: dict[str, str] = {}
    if plan.lines or plan.is_conda:
        with tempfile.TemporaryDirectory(prefix="clearml-agent-packages-") as name:
            folder = interpreter.path.parent.parent
            engine = install_packages(Work(plan, interpreter, folder, Path(name), console, cancel, seconds, told))
    return EnvironmentResult(
        python=interpreter.path,
        bin_dir=interpreter.path.parent,
        reused=not engine,
        installed=_installed(plan, interpreter, list(interpreter.packages)),
        variables=told,
        engine=engine,
    )


def open_store(root: Path, settings: EnvironmentSettings, *, keep: bool) -> Store:
    """The store at ``root``; what is in it goes with its task unless ``keep``."""
    bounds = Bounds(settings.max_entries, settings.max_age, settings.max_size, settings.free_space)
    cache = settings.uv_cache_dir
    memory = cache / "clearml-agent-seeds" / "compared.json" if cache is not None else None
    return Store(root, bounds, keep=keep, poisoned=_poisoned(settings), squeeze=_squeeze(settings), memory=memory)


def _poisoned(settings: EnvironmentSettings) -> Callable[[Path, list[str]], None]:
    def forget_packages(env: Path, names: list[str]) -> None:
        from clearml_agent_clone.environment import seeds  # noqa: PLC0415 - rare
        from clearml_agent_clone.environment.conda.cache import forget as forget_conda  # noqa: PLC0415 - rare
        from clearml_agent_clone.environment.uv_tools import forget  # noqa: PLC0415 - rare

        seeds.drop(settings)
        forget(env, names, settings)
        forget_conda(env, names)

    return forget_packages


def _squeeze(settings: EnvironmentSettings) -> Callable[[], None]:
    def prune_downloads() -> None:
        from clearml_agent_clone.environment.downloads import prune  # noqa: PLC0415 - rare

        prune(settings)

    return prune_downloads


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        seconds[name] = time.monotonic() - start
