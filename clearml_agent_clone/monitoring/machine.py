"""What the processor, the memory, the disk and the network of this machine were doing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs

from clearml_agent_clone.monitoring.gpu import GpuStats

MEGABYTE = 1024.0 * 1024.0

_CPU_SENSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
_Value = TypeVar("_Value")


@attrs.frozen
class MachineStats:
    """One report's worth of samples; None where this machine does not tell.

    Args:
        cpu_usage: percent, mean over all cores and over the time since the previous report.
        cpu_temperature: °C of the hottest core.
        memory_used: MB.
        memory_free: MB that can be had without swapping.
        disk_free: percent of the watched disk that is free.
        disk_read: MB/s, mean since the previous report, all disks together.
        disk_write: the same.
        network_rx: MB/s received, mean since the previous report, all interfaces together.
        network_tx: MB/s sent.
        gpus: in the order of their numbers.
    """

    cpu_usage: float | None = None
    cpu_temperature: float | None = None
    memory_used: float | None = None
    memory_free: float | None = None
    disk_free: float | None = None
    disk_read: float | None = None
    disk_write: float | None = None
    network_rx: float | None = None
    network_tx: float | None = None
    gpus: tuple[GpuStats, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """The ``machine_stats`` of ``workers.status_report``.

        ``disk_free_home`` carries a percentage: the API's description speaks of megabytes, but the percentage is what
        agents send and what the web interface shows.
        """
        single = {
            "memory_used": self.memory_used,
            "memory_free": self.memory_free,
            "disk_free_home": self.disk_free,
            "disk_read": self.disk_read,
            "disk_write": self.disk_write,
            "network_rx": self.network_rx,
            "network_tx": self.network_tx,
        }
        several = {
            "cpu_usage": [self.cpu_usage],
            "cpu_temperature": [self.cpu_temperature],
            "gpu_usage": [gpu.usage for gpu in self.gpus],
            "gpu_temperature": [gpu.temperature for gpu in self.gpus],
            "gpu_memory_used": [gpu.memory_used for gpu in self.gpus],
            "gpu_memory_free": [gpu.memory_free for gpu in self.gpus],
        }
        wire: dict[str, Any] = {name: round(value, 3) for name, value in single.items() if value is not None}
        for name, values in several.items():
            known = [round(value, 3) for value in values if value is not None]
            if known:
                wire[name] = known
        return wire


@attrs.frozen
class _Counters:
    """Counters that only ever grow, and when they were read (seconds); None where there are none."""

    at: float
    cpu: tuple[float, float] | None
    disk: tuple[float, float] | None
    network: tuple[float, float] | None


class MachineReader:
    """Reads the machine; rates are means since the previous ``read``, or since the reader was made.

    A mean over half a minute costs one reading, where frequent sampling costs many and says no more.

    Args:
        disk_path: a folder on the disk to watch; None is the home folder.
        clock: seconds of a monotonic clock.
        source: psutil, or something that looks like it.
    """

    def __init__(
        self,
        disk_path: Path | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        source: Any = None,
    ) -> None:
        if source is None:
            import psutil as source  # noqa: PLC0415 - who only names the types should not load it
        self._psutil = source
        self._clock = clock
        self._disk_path = disk_path
        self._before = self._counters()

    def read(self) -> MachineStats:
        """The state of the machine, without its GPUs. What cannot be read is None; this never raises."""
        before, now = self._before, self._counters()
        self._before = now
        seconds = now.at - before.at
        disk, network = _rates(before.disk, now.disk, seconds), _rates(before.network, now.network, seconds)
        memory = _if_possible(self._psutil.virtual_memory)
        return MachineStats(
            cpu_usage=_usage(before.cpu, now.cpu),
            cpu_temperature=_if_possible(self._temperature),
            memory_used=memory.used / MEGABYTE if memory else None,
            memory_free=memory.available / MEGABYTE if memory else None,
            disk_free=_if_possible(self._disk_free),
            disk_read=disk[0],
            disk_write=disk[1],
            network_rx=network[0],
            network_tx=network[1],
        )

    def _counters(self) -> _Counters:
        disk = _if_possible(self._psutil.disk_io_counters)
        network = _if_possible(self._psutil.net_io_counters)
        return _Counters(
            at=self._clock(),
            cpu=_if_possible(self._cpu),
            disk=(disk.read_bytes, disk.write_bytes) if disk else None,
            network=(network.bytes_recv, network.bytes_sent) if network else None,
        )

    def _cpu(self) -> tuple[float, float]:
        times = self._psutil.cpu_times()
        # Time of virtual machines is counted in that of their users already; waiting for a disk leaves a core free.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total - times.idle - getattr(times, "iowait", 0.0), total

    def _disk_free(self) -> float:
        return 100.0 - float(self._psutil.disk_usage(str(self._disk_path or Path.home())).percent)

    def _temperature(self) -> float | None:
        sensors = self._psutil.sensors_temperatures()
        found: list[Any] = next((sensors[name] for name in _CPU_SENSORS if sensors.get(name)), [])
        return max((float(sensor.current) for sensor in found if sensor.current is not None), default=None)


def _if_possible(read: Callable[[], _Value]) -> _Value | None:
    try:
        return read()
    except Exception:  # noqa: BLE001 - psutil meets the odd /proc and /sys of every kernel and container; no sample is worth an agent
        return None


def _usage(before: tuple[float, float] | None, now: tuple[float, float] | None) -> float | None:
    if before is None or now is None or now[1] <= before[1]:
        return None
    return min(100.0, max(0.0, 100.0 * (now[0] - before[0]) / (now[1] - before[1])))


def _rates(
    before: tuple[float, float] | None, now: tuple[float, float] | None, seconds: float
) -> tuple[float | None, float | None]:
    if before is None or now is None or seconds <= 0:
        return None, None
    first, second = (max(0.0, new - old) / MEGABYTE / seconds for old, new in zip(before, now, strict=True))
    return first, second
