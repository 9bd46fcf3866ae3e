from __future__ import annotations

import math
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import attrs
import pytest

from clearml_agent_clone.monitoring import GpuStats, MachineReader, MachineStats

MB = 1024 * 1024


class Times(NamedTuple):
    user: float
    system: float
    idle: float
    iowait: float
    guest: float


@attrs.define
class Source:
    """What psutil would say."""

    user: float = 100.0
    system: float = 0.0
    idle: float = 900.0
    iowait: float = 0.0
    guest: float = 0.0
    read_bytes: int = 0
    write_bytes: int = 0
    bytes_recv: int = 0
    bytes_sent: int = 0
    sensors: Any = None
    broken: bool = False

    def cpu_times(self) -> Times:
        self._check()
        return Times(self.user, self.system, self.idle, self.iowait, self.guest)

    def virtual_memory(self) -> Any:
        self._check()
        return SimpleNamespace(used=100 * MB, available=300.5 * MB)

    def disk_io_counters(self) -> Any:
        return self

    def net_io_counters(self) -> Any:
        return self

    def disk_usage(self, path: str) -> Any:
        if not Path(path).exists():
            raise FileNotFoundError(path)
        return SimpleNamespace(percent=32.25)

    def sensors_temperatures(self) -> Any:
        self._check()
        return self.sensors or {}

    def _check(self) -> None:
        if self.broken:
            raise PermissionError("/proc is hidden")


def _reader(source: Source, tmp_path: Path, times: list[float]) -> MachineReader:
    return MachineReader(tmp_path, clock=lambda: times.pop(0), source=source)


def test_rates_are_means_over_the_period(tmp_path: Path) -> None:
    source = Source()
    reader = _reader(source, tmp_path, [0.0, 30.0, 40.0])
    source.user, source.system, source.idle, source.iowait, source.guest = 112.0, 3.0, 960.0, 25.0, 6.0
    source.read_bytes, source.write_bytes, source.bytes_recv, source.bytes_sent = 30 * MB, 60 * MB, 15 * MB, 3 * MB
    stats = reader.read()
    assert stats.cpu_usage == pytest.approx(15.0)  # 12 + 3 of 100; the 6 of guests are part of the user's 12
    assert (stats.disk_read, stats.disk_write, stats.network_rx, stats.network_tx) == (1.0, 2.0, 0.5, 0.1)
    assert (stats.memory_used, stats.memory_free, stats.disk_free) == (100.0, 300.5, 67.75)
    source.idle += 100.0
    again = reader.read()
    assert (again.cpu_usage, again.disk_read, again.network_tx) == (0.0, 0.0, 0.0)


def test_counters_that_begin_anew(tmp_path: Path) -> None:
    source = Source(read_bytes=100 * MB, bytes_recv=100 * MB)
    reader = _reader(source, tmp_path, [0.0, 1.0])
    source.read_bytes = source.bytes_recv = 0
    source.idle += 1
    stats = reader.read()
    assert (stats.disk_read, stats.network_rx) == (0.0, 0.0)


def test_two_readings_in_the_same_moment(tmp_path: Path) -> None:
    stats = _reader(Source(), tmp_path, [1.0, 1.0]).read()
    assert (stats.cpu_usage, stats.disk_read, stats.network_rx) == (None, None, None)


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    source = Source(broken=True)
    stats = MachineReader(tmp_path / "missing", clock=iter((0.0, 1.0)).__next__, source=source).read()
    assert stats.to_wire() == {"disk_read": 0.0, "disk_write": 0.0, "network_rx": 0.0, "network_tx": 0.0}


def test_the_hottest_core_counts(tmp_path: Path) -> None:
    cores = [SimpleNamespace(current=40.0), SimpleNamespace(current=None), SimpleNamespace(current=55.5)]
    source = Source(sensors={"nvme": [SimpleNamespace(current=90.0)], "k10temp": cores})
    assert _reader(source, tmp_path, [0.0, 1.0]).read().cpu_temperature == 55.5


def test_the_wire_has_the_names_and_shapes_of_the_api() -> None:
    stats = MachineStats(
        cpu_usage=1.23456,
        cpu_temperature=50.0,
        memory_used=1.0,
        memory_free=2.0,
        disk_free=67.7,
        disk_read=0.0,
        disk_write=0.0,
        network_rx=0.1,
        network_tx=0.2,
        gpus=(
            GpuStats(0, usage=10.0, temperature=40.0, memory_used=1.0, memory_free=2.0),
            GpuStats(1, usage=100.0, memory_used=3.0, memory_free=4.0),
        ),
    )
    assert stats.to_wire() == {
        "cpu_usage": [1.235],
        "cpu_temperature": [50.0],
        "memory_used": 1.0,
        "memory_free": 2.0,
        "disk_free_home": 67.7,
        "disk_read": 0.0,
        "disk_write": 0.0,
        "network_rx": 0.1,
        "network_tx": 0.2,
        "gpu_usage": [10.0, 100.0],
        "gpu_temperature": [40.0],
        "gpu_memory_used": [1.0, 3.0],
        "gpu_memory_free": [2.0, 4.0],
    }
    assert MachineStats().to_wire() == {}


def test_this_machine() -> None:
    reader = MachineReader()
    sum(math.sqrt(number) for number in range(200_000))
    wire = reader.read().to_wire()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB
    assert 0 < wire["memory_used"] < memory
    assert 0 < wire["memory_free"] < memory
    assert 0 <= wire["disk_free_home"] <= 100
    assert 0 <= wire.get("cpu_usage", [0])[0] <= 100
    assert {"network_rx", "network_tx"} <= set(wire)
