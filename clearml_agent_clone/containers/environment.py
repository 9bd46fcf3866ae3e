"""The packages of a task that runs in a container: found in the host's store, or built in a container of that image."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.building import BuildPlace
from clearml_agent_clone.containers.engine import ContainerEngine
from clearml_agent_clone.containers.image_choice import (
    ImageChoice,
    as_interpreter,
    choose_python,
    listed_with,
    sees_image,
    sight_of,
)
from clearml_agent_clone.containers.image_python import ImageFindings, ImagePython, look_into
from clearml_agent_clone.containers.image_venv import Sight
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.containers.python_bundle import bring_python
from clearml_agent_clone.containers.uv_bundle import uv_for
from clearml_agent_clone.environment.build import build_environment, containers_folder, for_containers
from clearml_agent_clone.environment.interpreter import Choice
from clearml_agent_clone.environment.model import (
    Declined,
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentResult,
    Mode,
)
from clearml_agent_clone.environment.plan import plan_environment
from clearml_agent_clone.environment.projects.layer import make_layer
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.store import LAYER, Lease
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.process import Cancel, Console

_PLACES = frozenset(
    {
        *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_NO_INDEX", "PIP_DEFAULT_TIMEOUT"),
        *("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY"),
        *(name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for name in (upper, upper.lower())),
    }
)
_MANAGERS = {"poetry": "poetry projects", "uv": "uv projects", "conda": "conda environments"}


@attrs.frozen
class InsideEnvironment:
    """An environment that is ready for a container.

    Args:
        python: the interpreter to run the task with, as the container sees it; empty when the task needs none.
        bin_dir: its folder of programs, to be put in front of PATH; empty when the task uses the image as it is.
        mounts: what the container has to see of the host for that.
        variables: to add to the environment of the user's process.
        installed: ``name==version`` lines, for the record.
        reused: it was there already.
        lease: keeps the environment from being removed; release it when the container is gone.
        seconds: how long each step took.
        helper_python: a Python (3.6 or later) to run our own helper with; it is there whether or not the task needs
            one. Not the task's: it is the image's where the image has any.
    """

    python: str = ""
    bin_dir: str = ""
    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = attrs.Factory(dict)
    installed: tuple[str, ...] = ()
    reused: bool = False
    lease: Lease | None = attrs.field(default=None, repr=False, eq=False)
    seconds: Mapping[str, float] = attrs.Factory(dict)
    helper_python: str = ""


def prepare_inside(
    engine: ContainerEngine,
    image_id: str,
    request: EnvironmentRequest,
    settings: EnvironmentSettings,
    console: Console,
    *,
    options: tuple[Option, ...] = (),
    labels: Mapping[str, str] | None = None,
    use_activated_venv: bool = True,
    cancel: Cancel | None = None,
) -> InsideEnvironment:
    """Make the environment of ``request`` ready for containers of an image, or find it ready.

    Args:
        engine: what runs containers here.
        image_id: the id of the image, not its name: what is known about it is remembered by that.
        request: what the task says.
        settings: those of the host; where environments are kept is put in place for containers here.
        console: the task's.
        options: what the task's container gets; of these the building container takes what concerns the network.
        labels: of the containers that are needed on the way.
        use_activated_venv: ``agent.docker_use_activated_venv``.
        cancel: gives up; no container and nothing half-made is left.

    Raises:
        UserError: ``python-missing``, ``packages-failed``, ``not-in-containers`` (poetry, uv projects, conda).
        Cancelled: ``cancel`` was set.
    """
    prepare = _Prepare(engine, image_id, request, settings, console, tuple(options), dict(labels or {}), cancel)
    return prepare.run(use_activated_venv=use_activated_venv)


@attrs.define
class _Prepare:
    """One call of ``prepare_inside``."""

    engine: ContainerEngine
    image_id: str
    request: EnvironmentRequest
    settings: EnvironmentSettings
    console: Console
    options: tuple[Option, ...]
    labels: Mapping[str, str]
    cancel: Cancel | None
    seconds: dict[str, float] = attrs.Factory(dict)

    def run(self, *, use_activated_venv: bool) -> InsideEnvironment:
        begin = time.monotonic()
        findings = look_into(
            self.engine,
            self.image_id,
            self.settings.state_dir / "images",
            options=[option for option in self.options if option.name == "platform"],
            labels=self.labels,
            cancel=self.cancel,
        )
        self.seconds["image"] = time.monotonic() - begin
        choice = choose_python(findings, self.request, self.settings, activated=use_activated_venv)
        brought: tuple[Mount, ...] = ()
        if choice is None:
            choice, brought = self._bring_python(findings)
        settings = for_containers(self._settings(), choice.python.interpreter.platform or findings.libc)
        sight = sight_of(choice.python, seen=sees_image(settings) and not brought)
        plan = self._plan(settings, choice, sight)
        for line in plan.describe():
            self.console.say(line)
        python = choice.python.path
        if plan.mode is Mode.NONE:
            return InsideEnvironment(mounts=brought, helper_python=python, reused=True, seconds=self.seconds)
        if plan.mode is Mode.OWN:
            folder = python.rpartition("/")[0]
            return InsideEnvironment(python, folder, brought, helper_python=python, reused=True, seconds=self.seconds)
        place = self._place(findings, choice.python, sight, brought, settings)
        plan = attrs.evolve(plan, settings=attrs.evolve(plan.settings, place=place), pip_indexes=plan.indexes)
        result = build_environment(plan, self.console, self.cancel)
        return self._told(result, choice.python, sight, (*brought, *code_mounts(plan)))

    def _settings(self) -> EnvironmentSettings:
        """Which Python this machine's tasks get says nothing about images; ``-e PIP_INDEX_URL=…`` counts as ever."""
        given = (option.text.partition("=") for option in self.options if option.name == "env")
        told = {name: value for name, mark, value in given if mark and name in _PLACES}
        environ = {**self.settings.environ, **told}
        return attrs.evolve(self.settings, install_into="", python_binary="", default_python="", environ=environ)

    def _plan(self, settings: EnvironmentSettings, choice: ImageChoice, sight: Sight) -> EnvironmentPlan:
        seen = sight != Sight() and not choice.python.is_bare
        settings = attrs.evolve(settings, system_site_packages=seen)
        interpreter = as_interpreter(choice.python, self.image_id, sight)
        notes = choice.notes
        if self.settings.install_into and not settings.skip:
            notes = (*notes, "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL: what the image lacks is put beside its packages")
        settings, declined = only_lines(self.request, settings)
        plan = plan_environment(self.request, settings, Choice(interpreter, notes=(*notes, *declined)))
        if plan.mode is Mode.OWN:
            return attrs.evolve(plan, interpreter=interpreter)
        return plan

    def _place(
        self,
        findings: ImageFindings,
        python: ImagePython,
        sight: Sight,
        brought: tuple[Mount, ...],
        settings: EnvironmentSettings,
    ) -> BuildPlace:
        base = containers_folder(self.settings)
        return BuildPlace(
            self.engine,
            self.image_id,
            python.path,
            base,
            sight,
            lambda: uv_for(findings.machine, findings.libc, self.settings, self.console, self.cancel),
            self.options,
            self.labels,
            brought,
            build_user(self.engine.name, settings.environ),
        )

    def _bring_python(self, findings: ImageFindings) -> tuple[ImageChoice, tuple[Mount, ...]]:
        begin = time.monotonic()
        python, mount = bring_python(
            self.engine,
            findings,
            self.request,
            self.settings,
            self.console,
            labels=self.labels,
            cancel=self.cancel,
        )
        self.seconds["python"] = time.monotonic() - begin
        return ImageChoice(python), (mount,)

    def _told(
        self, result: EnvironmentResult, python: ImagePython, sight: Sight, brought: tuple[Mount, ...]
    ) -> InsideEnvironment:
        lease = result.lease
        if lease is None or result.python is None or result.bin_dir is None:
            raise AssertionError("an environment for a container is one of a store")
        env, layer = str(lease.env), str(own_layer(lease))
        return InsideEnvironment(
            python=f"{layer}/bin/python",
            bin_dir=f"{layer}/bin",
            mounts=(*brought, Mount(env, env, read_only=True), Mount(layer, layer)),
            variables={**result.variables, "VIRTUAL_ENV": layer},
            installed=listed_with(result.installed, python, seen=sight != Sight()),
            reused=result.reused,
            lease=lease,
            seconds={**result.seconds, **self.seconds},
            helper_python=python.path,
        )


def own_layer(lease: Lease) -> Path:
    """A thin environment on top of the kept one that the task has to itself: what it installs while it runs goes there.

    It goes with the lease.
    """
    layer = lease.folder / f"{LAYER}{secrets.token_hex(4)}"
    lease.layer = layer
    try:
        make_layer(layer, lease.env)
        for place, folders, _ in os.walk(layer):
            for path in (place, *(f"{place}/{name}" for name in folders)):
                if not os.path.islink(path):  # noqa: PTH114 - on the way to every task's start
                    os.chmod(path, 0o777)  # noqa: PTH101, S103 - whoever the task is; folders above keep others out
    except BaseException:  # whatever ended it, nobody will use the environment for this task
        lease.release()
        raise
    return layer


def code_mounts(plan: EnvironmentPlan) -> tuple[Mount, ...]:
    """The checkout at the path that it has here, where packages are in it and the environment may lead to them."""
    root = str(plan.root) if plan.root is not None else ""
    leads = bool(root) and any(root in line for line in plan.lines)
    return (Mount(root, root),) if leads else ()


def only_lines(
    request: EnvironmentRequest, settings: EnvironmentSettings
) -> tuple[EnvironmentSettings, tuple[str, ...]]:
    """``settings`` for requirement lines, which is all that is installed in containers so far.

    Raises:
        UserError: code ``not-in-containers``; the task asks for more.
    """
    manager = settings.manager
    if settings.skip or manager not in _MANAGERS:
        return settings, ()
    plain = attrs.evolve(settings, manager="pip")
    if manager != "conda":
        from clearml_agent_clone.environment.projects.find import find_project  # noqa: PLC0415 - by configuration only

        mine, root = settings.projects, request.repository_root
        first = mine.poetry_in_working_dir if manager == "poetry" else mine.uv_in_working_dir
        found = Declined() if root is None else find_project(manager, request, root, working_dir_first=first)
        if isinstance(found, Declined):
            return plain, (found.note,) if found.note else ()
    raise UserError(
        f"{_MANAGERS[manager]} cannot be installed in containers yet (agent.package_manager.type is {manager})",
        remedy="Set agent.package_manager.type: pip, or use an image that has the packages and set "
        "CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL=1",
        code="not-in-containers",
    )


def build_user(engine: str, environ: Mapping[str, str]) -> str:
    """As whom programs run that write into our folders: as ourselves.

    Where the engine runs without root, the container's root is this machine's user already.
    """
    mine = os.geteuid()
    rootless = mine != 0 and (engine == "podman" or f"/run/user/{mine}/" in environ.get("DOCKER_HOST", ""))
    return "0:0" if rootless else f"{mine}:{os.getegid()}"
