"""The switches that give a container its GPUs."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.options import Engine


@attrs.frozen
class GpuHost:
    """What the machine has: an NVIDIA driver, or AMD's device and the numbers of its render nodes.

    ``nvidia`` None: not looked for; then GPUs are asked for as the classic agent does.
    """

    nvidia: bool | None = None
    amd: bool = False
    render_nodes: tuple[int, ...] = ()


@attrs.frozen
class GpuSwitches:
    """How a container gets its GPUs.

    Args:
        options: for the engine's command line.
        inside: variables that the task sees, whatever the engine's own start-up set.
    """

    options: tuple[Option, ...] = ()
    inside: Mapping[str, str] = attrs.Factory(dict)


def visible_devices(environ: Mapping[str, str]) -> str | None:
    """The choice of the agent as it stands in its variables; None when there is none."""
    return environ.get("NVIDIA_VISIBLE_DEVICES", environ.get("CUDA_VISIBLE_DEVICES"))


def gpu_switches(visible: str | None, host: GpuHost, engine: Engine, *, skip_flag: bool = False) -> GpuSwitches:
    """The switches for the devices that ``visible`` names.

    Args:
        visible: NVIDIA_VISIBLE_DEVICES of the worker: None, ``all``, ``none``, nothing, or a list (``0,1``; ``0:1`` and
            ``0.1`` are MIG devices).
        host: what there is.
        engine: docker or podman.
        skip_flag: CLEARML_DOCKER_SKIP_GPUS_FLAG: the engine's default runtime hands out GPUs by itself.
    """
    if visible == "":
        return GpuSwitches(inside={"NVIDIA_VISIBLE_DEVICES": "all"})
    if visible == "none":
        # Images built on CUDA ask for all GPUs in their own environment, so saying nothing would not be "none".
        return GpuSwitches((_variable("NVIDIA_VISIBLE_DEVICES", "none"),), {"NVIDIA_VISIBLE_DEVICES": "none"})
    if host.amd and not host.nvidia:
        return _amd(visible, host)
    if skip_flag:
        value = (visible or "all").replace(".", ":")
        return GpuSwitches((_variable("NVIDIA_VISIBLE_DEVICES", value),), {"NVIDIA_VISIBLE_DEVICES": value})
    if visible is None and host.nvidia is False:
        return GpuSwitches()  # the engine would refuse to start the container
    return GpuSwitches((_option("gpus", _request(visible or "all", engine)),), {"NVIDIA_VISIBLE_DEVICES": "all"})


def _request(visible: str, engine: Engine) -> str:
    if visible == "all":
        return "all"
    devices = visible.replace(".", ":")
    # Docker reads the value as comma-separated fields, so a list of devices needs quotation marks of its own.
    return devices if engine is Engine.PODMAN else f'"device={devices}"'


def _amd(visible: str | None, host: GpuHost) -> GpuSwitches:
    nodes = host.render_nodes
    variables: tuple[Option, ...] = ()
    if visible not in (None, "all"):
        numbers = [int(part) for part in (visible or "").split(",") if part.strip().isdecimal()]
        nodes = tuple(128 + number for number in numbers)
        listed = ",".join(map(str, numbers))
        variables = (_variable("HIP_VISIBLE_DEVICES", listed), _variable("ROCR_VISIBLE_DEVICES", listed))
    devices = ("/dev/kfd", *(f"/dev/dri/renderD{node}" for node in nodes))
    return GpuSwitches((*(_option("device", path) for path in devices), *variables, _option("group-add", "video")))


def _option(name: str, value: str) -> Option:
    return Option(name, value, written=f"--{name}")


def _variable(name: str, value: str) -> Option:
    return _option("env", f"{name}={value}")
