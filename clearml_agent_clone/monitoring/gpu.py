"""The GPUs of this machine as far as a report needs them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import attrs

_DRIVER = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")
_NONE = {"none", "void", "-1", "nodevfiles"}


@attrs.frozen
class GpuStats:
    """One GPU, or one MIG instance of a GPU; None where the driver does not tell.

    Args:
        index: the GPU's number.
        instance: the MIG instance's number on it; None for a whole GPU.
        usage: percent of the time in which something ran on it.
        temperature: °C.
        memory_used: MB.
        memory_free: MB.
    """

    index: int
    instance: int | None = None
    usage: float | None = None
    temperature: float | None = None
    memory_used: float | None = None
    memory_free: float | None = None

    @property
    def key(self) -> tuple[int, int]:
        """Identity and order among the GPUs of a machine."""
        return self.index, -1 if self.instance is None else self.instance


class GpuReader(Protocol):
    """Reads GPUs. Neither method raises: what cannot be read is left out."""

    def loads(self) -> Mapping[tuple[int, int], float]:
        """The present usage (percent) by ``GpuStats.key``: quick, for averaging."""
        ...

    def read(self) -> tuple[GpuStats, ...]:
        """All that is known about each GPU, in their order."""
        ...

    def close(self) -> None:
        """Let go of the driver."""
        ...


class NoGpus:
    """A machine without GPUs, or one whose GPUs are none of our business."""

    def loads(self) -> Mapping[tuple[int, int], float]:
        return {}

    def read(self) -> tuple[GpuStats, ...]:
        return ()

    def close(self) -> None:
        pass


def open_gpus(visible: str | None = None) -> GpuReader:
    """The reader for the GPUs that ``visible`` names; ``NoGpus`` when there are none, which is no error.

    Args:
        visible: as NVIDIA_VISIBLE_DEVICES has it: numbers, UUIDs, MIG devices (``0:1`` or UUIDs), ``all``, ``none``,
            or a folder whose entries are named so. None asks the environment.
    """
    text = inherited(os.environ) if visible is None else visible
    wanted = devices(text)
    if wanted == frozenset() or (sys.platform == "linux" and not any(Path(path).exists() for path in _DRIVER)):
        return NoGpus()  # without a driver the five megabytes of its Python module are saved as well
    from clearml_agent_clone.monitoring.nvml import NvmlReader, load_nvml  # noqa: PLC0415 - only where there is a driver

    nvml = load_nvml()
    return NoGpus() if nvml is None else NvmlReader(nvml, wanted)


def inherited(environ: Mapping[str, str]) -> str:
    """The choice of GPUs that this process was started with."""
    return environ.get("NVIDIA_VISIBLE_DEVICES") or environ.get("CUDA_VISIBLE_DEVICES") or ""


def devices(visible: str) -> frozenset[str] | None:
    """The devices that ``visible`` names, in lower case; None for all of them, an empty set for none."""
    text = visible.strip()
    if text.startswith("/"):
        try:
            names = [entry.name for entry in Path(text).iterdir()]
        except OSError:
            return None
        return frozenset(name.lower() for name in names) or None
    # A container runtime may write a device as vendor/class=name.
    names = [part.strip().rpartition("=")[2].lower() for part in text.split(",") if part.strip()]
    if any(name in _NONE for name in names):
        return frozenset()
    return None if not names or "all" in names else frozenset(names)
