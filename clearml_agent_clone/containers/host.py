"""What this machine has that containers are given: GPUs, ssh keys, caches. Looks, and makes the folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from clearml_agent_clone.config import Settings
from clearml_agent_clone.config.trees import find
from clearml_agent_clone.config.variables_table import K8S_HOST_MOUNT
from clearml_agent_clone.containers.gpus import GpuHost
from clearml_agent_clone.containers.mounts import (
    HostFacts,
    HostMount,
    Mount,
    MountPlan,
    Purpose,
    for_siblings,
    plan_mounts,
)
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir

_NVIDIA = ("/dev/nvidia0", "/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg")
_AMD = "/dev/kfd"
_RENDER = "/dev/dri"
_CACHES = frozenset({Purpose.APT, Purpose.PIP, Purpose.POETRY, Purpose.PIP_DOWNLOAD, Purpose.SDK})
SDK_CACHE = "sdk.storage.cache.default_base_dir"


def gpu_host(root: Path = Path("/")) -> GpuHost:
    """What graphics cards this machine has, by its device files."""
    nvidia = any((root / path.lstrip("/")).exists() for path in _NVIDIA)
    amd = (root / _AMD.lstrip("/")).exists()
    render = root / _RENDER.lstrip("/")
    names = [path.name for path in render.glob("renderD*")] if amd and render.is_dir() else []
    numbers = sorted(int(name.removeprefix("renderD")) for name in names if name.removeprefix("renderD").isdecimal())
    return GpuHost(nvidia=nvidia, amd=amd, render_nodes=tuple(numbers))


def host_mounts(settings: Settings, tree: Mapping[str, object], run: Path, environ: Mapping[str, str]) -> MountPlan:
    """What the task's container is given of this machine; what has to be made for it is made.

    Args:
        settings: the configuration.
        tree: the same with the SDK's part.
        run: the run's folder, which gets the copy of the ssh keys.
        environ: the agent's variables.
    """
    agent, docker = settings.agent, settings.agent.docker
    home = Path(environ.get("HOME") or "~").expanduser()
    sdk = find(tree, SDK_CACHE, "")
    downloads = agent.pip_download_cache
    copy = run / "ssh"
    facts = HostFacts(
        existing={str(path) for path in (home / ".ssh", home / ".gitconfig") if path.exists()},
        home=str(home),
        ssh_auth_sock=environ.get("SSH_AUTH_SOCK", ""),
        ssh_copy=str(copy),
        sdk_cache=str(Path(os.path.expandvars(str(sdk or "~/.clearml/cache"))).expanduser()),
        pip_download=str(downloads.path) if downloads.enabled else "",
    )
    plan = plan_mounts(docker, facts)
    for mount in plan.mounts:
        if mount.purpose in _CACHES:
            private_dir(Path(mount.host))
    if plan.copy_ssh_from:
        _copy_keys(Path(plan.copy_ssh_from), copy)
    return siblings(plan, environ)


def siblings(plan: MountPlan, environ: Mapping[str, str]) -> MountPlan:
    """``plan`` as the engine's machine has the paths, when this agent is in a container itself."""
    text = K8S_HOST_MOUNT.get(environ)
    return for_siblings(plan, HostMount.parse(text)) if text else plan


def own_mounts(mounts: tuple[Mount, ...], environ: Mapping[str, str]) -> tuple[Mount, ...]:
    """``siblings`` for what a container cannot do without.

    Raises:
        UserError: the engine's machine does not have it.
    """
    found = siblings(MountPlan(mounts), environ).mounts
    if len(found) != len(mounts):
        missing = next(mount.host for mount in mounts if mount.inside not in {one.inside for one in found})
        raise UserError(
            f"{missing} is not below the folder that CLEARML_AGENT_K8S_HOST_MOUNT names",
            remedy="Set CLEARML_AGENT_STATE_DIR to a folder below it, and agent.venvs_cache.path too",
            code="host-mount",
        )
    return found


def _copy_keys(source: Path, target: Path) -> None:
    """Only files and folders: sockets of connections that are open have no business in there."""
    private_dir(target)
    for folder, _, names in os.walk(source):
        there = target / Path(folder).relative_to(source)
        there.mkdir(mode=0o700, exist_ok=True)
        for name in names:
            file = Path(folder) / name
            if file.is_file():
                shutil.copyfile(file, there / name)
                (there / name).chmod(0o600)
