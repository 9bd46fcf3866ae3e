"""The loop that looks at the GPUs now and then, and the sample that a report takes."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path

import attrs

from clearml_agent_clone.monitoring.gpu import GpuReader, GpuStats, NoGpus, open_gpus
from clearml_agent_clone.monitoring.machine import MachineReader, MachineStats

GPU_INTERVAL = 5.0
"""Seconds between looks at the GPUs' usage, the only figure that has no counter to take a mean of."""

_NOTHING_TO_DO = 3600.0


class Sampler:
    """Collects samples of the machine between two reports.

    ``step`` and ``take`` may be called from different threads.

    Args:
        machine: reads the machine.
        gpus: reads the GPUs.
        default_gpu_usage: reported for a GPU whose driver tells no usage (MIG), so that it does not look idle; None
            reports none.
        interval: seconds between looks at the GPUs' usage.
    """

    name = "machine"

    def __init__(
        self,
        machine: MachineReader,
        gpus: GpuReader,
        *,
        default_gpu_usage: float | None = 100.0,
        interval: float = GPU_INTERVAL,
    ) -> None:
        self._machine = machine
        self._gpus = gpus
        self._default = default_gpu_usage
        self._interval = interval
        self._lock = threading.Lock()
        self._loads: defaultdict[tuple[int, int], list[float]] = defaultdict(list)

    def step(self, now: float) -> float:
        """Look at the GPUs' usage once."""
        del now
        if isinstance(self._gpus, NoGpus):
            return _NOTHING_TO_DO
        with self._lock:
            for key, load in self._gpus.loads().items():
                self._loads[key].append(load)
        return self._interval

    def take(self) -> MachineStats:
        """The samples since the last call. The next ones start from here."""
        with self._lock:
            loads, self._loads = self._loads, defaultdict(list)
            gpus = tuple(self._averaged(gpu, loads.get(gpu.key, [])) for gpu in self._gpus.read())
            return attrs.evolve(self._machine.read(), gpus=gpus)

    def close(self) -> None:
        """Let go of the GPUs' driver."""
        with self._lock:
            self._gpus.close()

    def _averaged(self, gpu: GpuStats, loads: list[float]) -> GpuStats:
        known = [*loads, *(() if gpu.usage is None else (gpu.usage,))]
        return attrs.evolve(gpu, usage=sum(known) / len(known) if known else self._default)


def new_sampler(
    disk_path: Path | None = None, visible: str | None = None, *, default_gpu_usage: float | None = 100.0
) -> Sampler:
    """A sampler for this machine.

    Args:
        disk_path: ``agent.resource_monitoring.disk_use_path``.
        visible: the GPUs to report, as of ``open_gpus``.
        default_gpu_usage: ``agent.resource_monitoring.default_gpu_utilization``.
    """
    return Sampler(MachineReader(disk_path), open_gpus(visible), default_gpu_usage=default_gpu_usage)
