"""Samples of the machine and its GPUs, for the worker's reports.

    sampler = new_sampler(disk_path=None, visible="all")
    sampler.step(now)          # now and then, so that the GPUs' load is an average and not a moment
    sampler.take().to_wire()   # once per report

psutil and NVML are loaded when a sampler is made.
"""

from __future__ import annotations

from clearml_agent_clone.monitoring.gpu import GpuReader, GpuStats, NoGpus, open_gpus
from clearml_agent_clone.monitoring.machine import MachineReader, MachineStats
from clearml_agent_clone.monitoring.sampler import Sampler, new_sampler

__all__ = [
    "GpuReader",
    "GpuStats",
    "MachineReader",
    "MachineStats",
    "NoGpus",
    "Sampler",
    "new_sampler",
    "open_gpus",
]
