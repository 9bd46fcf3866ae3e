"""The plan of a start: argument list, working folder, environment variables."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.launch.command import Entry, build_argv

RUN_MARK = "CLEARML_AGENT_RUN_ID"
"""Every process of a task carries this variable, so that those which left its session are found as well."""

_REMOVED = (
    "CLEARML_APT_INSTALL",
    "TRAINS_APT_INSTALL",
    "UV_CACHE_DIR",
    "UV_PYTHON_CACHE_DIR",
    "UV_PYTHON_INSTALL_DIR",
    "CLEARML_AGENT_GIT_PASS",  # the agent's, for fetching the code; a task that wants it is given it by name
    "TRAINS_AGENT_GIT_PASS",
)
_TWINS = (
    "CLEARML_TASK_ID",
    "CLEARML_CONFIG_FILE",
    "CLEARML_LOG_LEVEL",
    "CLEARML_LOG_TASK_TO_BACKEND",
    "CLEARML_WORKER_ID",
)


@attrs.frozen
class TaskIdentity:
    """Who the process is: what the SDK inside it needs to know to report to the right task.

    ``token`` is the bearer token of an agent that has no key pair; with a key pair the configuration file is enough.
    """

    task_id: str
    run_id: str
    worker_id: str
    config_file: Path
    log_level: str = "INFO"
    token: str = attrs.field(default="", repr=False)


@attrs.frozen
class Devices:
    """Which GPUs the task may see.

    ``visible`` is None to leave the inherited variables alone, ``"all"``, ``"none"``, or a list such as ``"0,1"``.
    """

    visible: str | None = None

    def variables(self, inherited: Mapping[str, str]) -> dict[str, str | None]:
        """Variables to set, and (None) to remove."""
        result: dict[str, str | None] = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
        if self.visible is None:
            cuda = inherited.get("CUDA_VISIBLE_DEVICES")
            if cuda and "NVIDIA_VISIBLE_DEVICES" not in inherited:
                result["NVIDIA_VISIBLE_DEVICES"] = cuda
        else:
            result["NVIDIA_VISIBLE_DEVICES"] = self.visible
            result["CUDA_VISIBLE_DEVICES"] = None if self.visible == "all" else self.visible
        return result


@attrs.frozen
class LaunchPlan:
    """Everything that decides how the user's process starts. ``env`` is the whole environment."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str] = attrs.field(repr=False)

    def describe(self, working_dir: str) -> str:
        """The line that the console shows, as today's agent prints it: ``[folder]$ command``."""
        return f"[{working_dir or '.'}]$ {shlex.join(self.argv)}"


def plan_launch(
    entry: Entry,
    identity: TaskIdentity,
    *,
    python: Path | None,
    bin_dir: Path | None,
    devices: Devices,
    inherited: Mapping[str, str],
    extra: Mapping[str, str],
    optimize: int = 0,
    python_root: Path | None = None,
) -> LaunchPlan:
    """Decide how the task's process is started.

    Args:
        entry: what to start and where.
        identity: task, run and worker.
        python: the environment's interpreter, None when there is none.
        bin_dir: folder of the environment's programs, put first on PATH so that ``subprocess.run(["python", …])``
            and tools such as ``torchrun`` in user code find the task's environment and not the agent's.
        devices: GPUs that the task may see.
        inherited: the agent's own environment.
        extra: variables of the environment room and of the task's ``Environment`` section; they win.
        optimize: count of Python's ``-O``.
        python_root: put on PYTHONPATH instead of the working folder (``agent.force_git_root_python_path``).
    """
    env = {name: value for name, value in inherited.items() if name not in _REMOVED}
    env.update(
        CLEARML_TASK_ID=identity.task_id,
        CLEARML_CONFIG_FILE=str(identity.config_file),
        CLEARML_LOG_LEVEL=identity.log_level,
        CLEARML_LOG_TASK_TO_BACKEND="0",
        CLEARML_WORKER_ID=identity.worker_id,
    )
    if identity.token:
        env["CLEARML_AUTH_TOKEN"] = identity.token
    env[RUN_MARK] = identity.run_id
    for name in _TWINS:
        env["TRAINS_" + name.removeprefix("CLEARML_")] = env[name]
    for name, value in devices.variables(inherited).items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    if bin_dir is not None:
        env["PATH"] = os.pathsep.join(filter(None, [str(bin_dir), env.get("PATH", "")]))
        env["VIRTUAL_ENV"] = str(bin_dir.parent)
        if "CONDA_PREFIX" in extra:
            del env["VIRTUAL_ENV"]  # it is none, and programs would look for the files of one
        env.pop("PYTHONHOME", None)
    env["PYTHONPATH"] = os.pathsep.join(_python_path(entry, inherited, python_root))
    env.setdefault("PYTHONIOENCODING", "utf-8")
    env.update(extra)
    return LaunchPlan(build_argv(entry, python, optimize), entry.working_dir, env)


def _python_path(entry: Entry, inherited: Mapping[str, str], root: Path | None) -> list[str]:
    """Inherited folders, then the code's own. The interpreter's library is left out: a child of another version of
    Python must not find it.
    """
    first = entry.entry_point.split()[0] if entry.entry_point.split() else ""
    beside = (entry.working_dir / first).parent if first and not first.startswith("-") else entry.working_dir
    own = [root] if root is not None else [entry.working_dir, beside]
    extra = inherited.get("CLEARML_AGENT_EXTRA_PYTHON_PATH") or inherited.get("TRAINS_AGENT_EXTRA_PYTHON_PATH") or ""
    parts = [*inherited.get("PYTHONPATH", "").split(os.pathsep), *map(str, own), *extra.split(os.pathsep)]
    return list(dict.fromkeys(part for part in parts if part))
