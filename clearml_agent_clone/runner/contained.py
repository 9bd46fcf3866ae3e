"""A task in a container: image, environment, the container itself, and the order for the helper in it."""

from __future__ import annotations

import copy
import json
import os
import secrets
import string
import time
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import attrs

from clearml_agent_clone.api.types import Task
from clearml_agent_clone.config import Loaded
from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.config.trees import find, put
from clearml_agent_clone.config.variables_table import DOCKER_SKIP_GPUS_FLAG, EXTRA_DOCKER_LABELS
from clearml_agent_clone.containers.compose import ComposedContainer, ContainerRequest, compose
from clearml_agent_clone.containers.engine import ContainerEngine, ImageFacts
from clearml_agent_clone.containers.environment import InsideEnvironment, prepare_inside
from clearml_agent_clone.containers.gpus import gpu_switches, visible_devices
from clearml_agent_clone.containers.host import SDK_CACHE, gpu_host, host_mounts, own_mounts
from clearml_agent_clone.containers.life import home_mark, note_container
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.containers.names import Identity, container_name
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.order import (
    CODE_INSIDE,
    CONSOLE_INSIDE,
    HELPER,
    HELPER_INSIDE,
    Order,
    SecretFile,
)
from clearml_agent_clone.containers.scripts import plan_scripts
from clearml_agent_clone.containers.shown import Hider
from clearml_agent_clone.containers.template import harmless_keys
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings
from clearml_agent_clone.launch.command import Entry, build_argv
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.logs.spool import SPOOL_NAME
from clearml_agent_clone.runner.container_choice import Decided
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.source import SourceResult
from clearml_agent_clone.util.process import Cancel, Console

_ROOT = frozenset({"", "0", "root"})
_CONFIG = ("CLEARML_CONFIG_FILE", "TRAINS_CONFIG_FILE")
_TWINS = ("CLEARML_TASK_ID", "CLEARML_LOG_LEVEL", "CLEARML_LOG_TASK_TO_BACKEND", "CLEARML_WORKER_ID")


@attrs.frozen
class MadeContainer:
    """A container that waits for its start, and what to tell the helper in it."""

    id: str
    order: Order


@attrs.define
class Contained:
    """Makes the container of one task.

    Args:
        engine: makes and runs it.
        task, job, folder, loaded: the run.
        decided: what the container is to be.
        token: see ``TaskIdentity``.
    """

    engine: ContainerEngine
    task: Task
    job: Job
    folder: RunFolder
    loaded: Loaded
    decided: Decided
    console: Console
    cancel: Cancel
    token: str = attrs.field(default="", repr=False)

    def announce(self) -> None:
        """Tell the console what was decided."""
        for line in describe(self.task, self.decided, self.loaded):
            self.console.say(line)

    def image(self) -> ImageFacts:
        """The image, pulled when it is not here or has to be fresh.

        Raises:
            UserError: it cannot be pulled.
            Cancelled: the task is being ended.
        """
        reference = self.decided.choice.image
        found = None if self._docker.force_pull else self.engine.image(reference)
        if found is None:
            begin = time.monotonic()
            self.console.say(f"Pulling image {reference}")
            self.engine.pull(reference, self.console, self.cancel)
            self.console.say(f"Pulled image {reference} in {time.monotonic() - begin:.1f} s")
            found = self.engine.image(reference)
        if found is None:
            return ImageFacts(reference)  # an engine that names it otherwise; making the container tells
        return found

    def environment(
        self, image: ImageFacts, request: EnvironmentRequest, settings: EnvironmentSettings
    ) -> InsideEnvironment:
        """The task's packages, built in a container of the image or found ready.

        Raises:
            UserError: the image has no Python, or packages cannot be had.
            Cancelled: the task is being ended.
        """
        return prepare_inside(
            self.engine,
            image.id,
            request,
            settings,
            self.console,
            options=self.decided.settled.options,
            labels=self._identity.labels,
            use_activated_venv=self._docker.use_activated_venv,
            cancel=self.cancel,
        )

    def make(self, image: ImageFacts, source: SourceResult, inside: InsideEnvironment, entry: Entry) -> MadeContainer:
        """Make the container; on return its id is written down.

        Raises:
            UserError: the engine refuses it.
        """
        order = self._order(source, inside, entry)
        composed = self._compose(image, inside)
        order = attrs.evolve(order, variables={**order.variables, **composed.handed})
        self.console.say(f"Executing: {composed.shown}")
        container = self.engine.create(composed)
        note_container(Place(self.folder.path, self.job.run_id), container)
        return MadeContainer(container, order)

    # the container

    def _compose(self, image: ImageFacts, inside: InsideEnvironment) -> ComposedContainer:
        docker, job = self._docker, self.job
        host = host_mounts(self.loaded.settings, self.loaded.tree, self.folder.path, os.environ)
        for remark in host.remarks:
            self.console.say(remark)
        visible = job.visible_devices if job.visible_devices is not None else visible_devices(os.environ)
        engine = Engine(self.engine.name)
        skip = bool(DOCKER_SKIP_GPUS_FLAG.get(os.environ))
        letters = "".join(secrets.choice(string.ascii_lowercase) for _ in range(32))
        name = container_name(docker, self._identity, self.decided.task_values, letters)
        if name.remark:
            self.console.say(f"clearml_agent: WARNING: {name.remark}")
        request = ContainerRequest(
            engine,
            self.decided.choice.image,
            (inside.helper_python or "python3", "-I", HELPER_INSIDE),
            self._identity,
            self.decided.settled.options,
            gpu_switches(visible, gpu_host(), engine, skip_flag=skip),
            (*self._mounts(self._user(image)), *host.mounts, *own_mounts(inside.mounts, os.environ)),
            self._variables(),
            name.text,
            EXTRA_DOCKER_LABELS.get(os.environ) or (),
        )
        return compose(request, self._hider)

    def _mounts(self, user: str) -> tuple[Mount, ...]:
        """The helper, the console and the code. All of it is in the run's folder, which nobody else may enter."""
        helper = self.folder.path / "helper.py"
        helper.write_bytes(HELPER.read_bytes())
        helper.chmod(0o644)
        console = self.folder.logs / SPOOL_NAME
        if user not in _ROOT:
            console.chmod(0o666)
            _open(self.folder.code)
        mounts = (
            Mount(str(helper), HELPER_INSIDE, read_only=True),
            Mount(str(console), CONSOLE_INSIDE),
            Mount(str(self.folder.code), CODE_INSIDE),
        )
        return own_mounts(mounts, os.environ)

    def _user(self, image: ImageFacts) -> str:
        asked = [option.text for option in self.decided.settled.options if option.name == "user"]
        return (asked[-1] if asked else image.user).partition(":")[0]

    def _variables(self) -> dict[str, str]:
        found = {"TINI_KILL_PROCESS_GROUP": "1"}  # the signal of a stop reaches all that the task has started
        if self.job.reports_worker and self.job.owner_id:
            found["CLEARML_AGENT_SERVICE_TASK"] = "1"
        return found

    # the order

    def _order(self, source: SourceResult, inside: InsideEnvironment, entry: Entry) -> Order:
        agent, choice = self.loaded.settings.agent, self.decided.choice
        folder = self._inside(entry.working_dir)
        python = Path(inside.python) if inside.python else None
        after = dict(inside.variables)
        if inside.bin_dir and "CONDA_PREFIX" not in after:
            after.setdefault("VIRTUAL_ENV", str(PurePosixPath(inside.bin_dir).parent))
        if agent.enable_task_env:
            after.update(self.task.hyperparams.get("Environment", {}))
        return Order(
            build_argv(entry, python, self.job.optimize),
            folder,
            variables=self._identifying(),
            task_variables=after,
            defaults={"PYTHONIOENCODING": "utf-8"},
            in_front={"PATH": [inside.bin_dir]} if inside.bin_dir else {},
            behind={"PYTHONPATH": self._python_path(source, entry)},
            removed=("PYTHONHOME",) if inside.bin_dir else (),
            scripts=plan_scripts(self._docker, choice.setup_script, choice.setup_from),
            files=(SecretFile("clearml.conf", json.dumps(self._sdk_config(), default=str), _CONFIG),),
            copies=self._copies(),
        )

    def _identifying(self) -> dict[str, str]:
        found = {
            "CLEARML_TASK_ID": self.job.task_id,
            "CLEARML_LOG_LEVEL": self.job.log_level,
            "CLEARML_LOG_TASK_TO_BACKEND": "0",
            "CLEARML_WORKER_ID": self.job.worker_id,
        }
        found |= {name.replace("CLEARML_", "TRAINS_", 1): found[name] for name in _TWINS}
        if self.token:
            found["CLEARML_AUTH_TOKEN"] = self.token
        return found

    def _python_path(self, source: SourceResult, entry: Entry) -> list[str]:
        if self.loaded.settings.agent.git.force_root_python_path:
            return [self._inside(source.root)]
        first = entry.entry_point.split()[0] if entry.entry_point.split() else ""
        beside = (entry.working_dir / first).parent if first and not first.startswith("-") else entry.working_dir
        return list(dict.fromkeys([self._inside(entry.working_dir), self._inside(beside)]))

    def _inside(self, path: Path) -> str:
        """A folder of the code as the container sees it; one that is elsewhere is its own business there."""
        try:
            below = Path(os.path.normpath(path)).relative_to(self.folder.code)
        except ValueError:
            return str(path)
        return str(PurePosixPath(CODE_INSIDE) / below)

    def _copies(self) -> tuple[tuple[str, str], ...]:
        mounts = self._docker.mounts
        return ((mounts.ssh_ro_folder, mounts.ssh_folder), (f"{mounts.ssh_ro_folder}.git", "~"))

    def _sdk_config(self) -> dict[str, Any]:
        """The SDK's configuration: of the agent's own keys only those that nobody has to hide."""
        tree = {name: copy.deepcopy(part) for name, part in self.loaded.tree.items() if name != "agent"}
        for path in harmless_keys():
            value = find(self.loaded.tree, path, None) if path.startswith("agent.") else None
            if value is not None and not isinstance(value, Mapping):
                put(tree, path, value)
        put(tree, SDK_CACHE, self._docker.mounts.sdk_cache)
        if self.token:
            tree.get("api", {}).pop("credentials", None)
        return tree

    # parts

    @property
    def _docker(self) -> DockerSettings:
        return self.loaded.settings.agent.docker

    @property
    def _identity(self) -> Identity:
        job, home = self.job, home_mark(self.loaded.settings.state_dir)
        return Identity(job.task_id, job.run_id, job.worker_id, job.owner_id, home)

    @property
    def _hider(self) -> Hider:
        return Hider.of(self._docker.hide_env, self.loaded.secrets)


def describe(task: Task, decided: Decided, loaded: Loaded) -> tuple[str, ...]:
    """Lines about what was decided, secrets masked."""
    choice = decided.choice
    hider = Hider.of(loaded.settings.agent.docker.hide_env, loaded.secrets)
    arguments = hider.line([option.token for option in decided.settled.options])
    lines = [f"Running task '{task.id}' {choice.describe(arguments)}"]
    lines += [f"clearml_agent: WARNING: {remark}" for remark in decided.settled.remarks]
    if choice.setup_script.strip():
        lines.append(f"custom_setup_bash_script: {choice.setup_script.strip()}")
    if loaded.settings.agent.custom_build_script:
        lines.append("clearml_agent: WARNING: agent.custom_build_script is not run for tasks in containers")
    return tuple(lines)


def _open(folder: Path) -> None:
    """Let a container's own user read and write the code. On this machine the run's folder keeps everybody out."""
    for path, _, names in os.walk(folder):
        for one in (Path(path), *(Path(path) / name for name in names)):
            if not one.is_symlink():
                mode = one.stat().st_mode & 0o777
                one.chmod(mode | 0o666 | (0o111 if mode & 0o100 else 0))
