"""The NVML reader and the sampler, with a driver made up for the occasion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import attrs
import pytest

from clearml_agent_clone.monitoring import GpuStats, MachineReader, NoGpus, Sampler, open_gpus
from clearml_agent_clone.monitoring.gpu import devices, inherited
from clearml_agent_clone.monitoring.nvml import NvmlReader, load_nvml

MB = 1024 * 1024


Told = TypeVar("Told")


class DriverError(Exception):
    pass


@attrs.define(eq=False)
class Gpu:
    uuid: Any
    usage: int | None = 50
    used: int | None = 100
    temperature: int | None = 40
    mig: list[Gpu | None] | None = None
    lost: bool = False


class FakeNvml:
    """Looks like pynvml."""

    NVMLError = DriverError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *gpus: Gpu) -> None:
        self.gpus = list(gpus)
        self.driver = True
        self.inits = 0
        self.shutdowns = 0

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name
        self.inits += 1
        if not self.driver:
            raise DriverError("Driver Not Loaded")

    def nvmlShutdown(self) -> None:  # noqa: N802 - as above
        self.shutdowns += 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - as above
        if not self.driver:
            raise DriverError("Uninitialized")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:  # noqa: N802 - as above
        return self._there(self.gpus[index])

    def nvmlDeviceGetUUID(self, gpu: Gpu) -> Any:  # noqa: N802 - as above
        return self._there(gpu).uuid

    def nvmlDeviceGetMigMode(self, gpu: Gpu) -> list[int]:  # noqa: N802 - as above
        if gpu.mig is None:
            raise DriverError("Not Supported")
        return [int(bool(gpu.mig)), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: Gpu) -> int:  # noqa: N802 - as above
        return len(gpu.mig or ())

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: Gpu, number: int) -> Gpu:  # noqa: N802 - as above
        assert gpu.mig is not None
        return self._told(gpu.mig[number])

    def nvmlDeviceGetMemoryInfo(self, gpu: Gpu) -> Any:  # noqa: N802 - as above
        used = self._told(self._there(gpu).used)
        return SimpleNamespace(used=used * MB, free=(1000 - used) * MB)

    def nvmlDeviceGetTemperature(self, gpu: Gpu, sensor: int) -> int:  # noqa: N802 - as above
        assert sensor == self.NVML_TEMPERATURE_GPU
        return self._told(self._there(gpu).temperature)

    def nvmlDeviceGetUtilizationRates(self, gpu: Gpu) -> Any:  # noqa: N802 - as above
        return SimpleNamespace(gpu=self._told(self._there(gpu).usage), memory=0)

    @staticmethod
    def _there(gpu: Gpu) -> Gpu:
        if gpu.lost:
            raise DriverError("GPU is lost")
        return gpu

    @staticmethod
    def _told(value: Told | None) -> Told:
        if value is None:
            raise DriverError("Not Supported")
        return value


def _two() -> FakeNvml:
    return FakeNvml(Gpu("GPU-aaa"), Gpu(b"GPU-bbb", usage=10, used=400, temperature=60))


def test_all_gpus() -> None:
    assert NvmlReader(_two()).read() == (
        GpuStats(0, None, 50.0, 40, 100.0, 900.0),
        GpuStats(1, None, 10.0, 60, 400.0, 600.0),
    )


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("1", [1]),
        ("GPU-BBB,0", [0, 1]),
        ("gpu-aaa", [0]),
        ("nvidia.com/gpu=1", [1]),
        ("all", [0, 1]),
        ("0,all", [0, 1]),
        ("", [0, 1]),
        ("7", [0, 1]),
    ],
)
def test_visible_devices(visible: str, found: list[int]) -> None:
    assert [gpu.index for gpu in NvmlReader(_two(), devices(visible)).read()] == found


def _mig() -> FakeNvml:
    instances: list[Gpu | None] = [Gpu("MIG-1", usage=None), None, Gpu("MIG-2", usage=None, used=200)]
    return FakeNvml(Gpu("GPU-aaa", usage=None, mig=instances), Gpu("GPU-bbb", mig=[]))


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("all", [(0, 0), (0, 2), (1, -1)]),
        ("0", [(0, 0), (0, 2)]),
        ("GPU-aaa", [(0, 0), (0, 2)]),
        ("MIG-2", [(0, 2)]),
        ("0:0", [(0, 0)]),
        ("0:0,1", [(0, 0), (1, -1)]),
    ],
)
def test_mig_instances(visible: str, found: list[tuple[int, int]]) -> None:
    assert [gpu.key for gpu in NvmlReader(_mig(), devices(visible)).read()] == found


def test_an_instance_has_its_own_memory_and_its_gpus_temperature() -> None:
    first, second, _ = NvmlReader(_mig()).read()
    assert first == GpuStats(0, 0, None, 40, 100.0, 900.0)
    assert second == GpuStats(0, 2, None, 40, 200.0, 800.0)


def test_a_gpu_that_fails_does_not_hide_the_others() -> None:
    nvml = _two()
    reader = NvmlReader(nvml)
    assert len(reader.read()) == 2
    nvml.gpus[0].lost = True
    assert reader.loads() == {(1, -1): 10.0}
    assert [gpu.index for gpu in reader.read()] == [1]
    nvml.gpus[0].lost = False
    assert len(reader.read()) == 2


def test_what_a_gpu_does_not_tell_is_unknown() -> None:
    reader = NvmlReader(FakeNvml(Gpu("GPU-aaa", usage=None, used=None, temperature=None)))
    assert reader.read() == (GpuStats(0),)
    assert reader.loads() == {}


def test_a_driver_that_is_away_is_tried_again_later() -> None:
    now = [0.0]
    nvml = _two()
    nvml.driver = False
    reader = NvmlReader(nvml, clock=lambda: now[0])
    assert reader.read() == ()
    assert reader.loads() == {}
    assert nvml.inits == 1
    now[0] = 301.0
    nvml.driver = True
    assert len(reader.read()) == 2
    nvml.driver = False  # replaced while we run
    assert reader.read() == ()
    nvml.driver = True
    assert reader.read() == ()
    now[0] = 700.0
    assert len(reader.read()) == 2
    assert (nvml.inits, nvml.shutdowns) == (3, 1)
    reader.close()
    reader.close()
    assert nvml.shutdowns == 2


def test_names_from_the_environment(tmp_path: Path) -> None:
    assert inherited({}) == ""
    assert inherited({"CUDA_VISIBLE_DEVICES": "1"}) == "1"
    assert inherited({"CUDA_VISIBLE_DEVICES": "1", "NVIDIA_VISIBLE_DEVICES": "all"}) == "all"
    (tmp_path / "GPU-aaa").touch()
    assert devices(str(tmp_path)) == frozenset({"gpu-aaa"})
    assert devices(str(tmp_path / "missing")) is None


@pytest.mark.parametrize("visible", ["none", "None", "void", "-1", " none "])
def test_no_gpus_wanted(visible: str) -> None:
    assert devices(visible) == frozenset()
    assert isinstance(open_gpus(visible), NoGpus)


def test_no_driver_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_agent_clone.monitoring.gpu._DRIVER", ())
    assert isinstance(open_gpus("all"), NoGpus)
    none = NoGpus()
    assert (none.read(), none.loads(), none.close()) == ((), {}, None)  # type: ignore[func-returns-value]  # that it does not raise


def test_no_library_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_agent_clone.monitoring.gpu._DRIVER", ("/",))
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert load_nvml() is None
    assert isinstance(open_gpus("all"), NoGpus)


def test_the_real_library_where_its_driver_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_agent_clone.monitoring.gpu._DRIVER", ("/",))
    reader = open_gpus("all")
    assert isinstance(reader, NvmlReader)
    assert isinstance(reader.read(), tuple)
    reader.close()


# --- the sampler -------------------------------------------------------------------------------------------------


class Gpus:
    """GPUs of which one tells its usage and one does not."""

    def __init__(self) -> None:
        self.usage = 0.0
        self.closed = False

    def loads(self) -> Mapping[tuple[int, int], float]:
        return {(0, -1): self.usage}

    def read(self) -> tuple[GpuStats, ...]:
        return GpuStats(0, usage=self.usage), GpuStats(1, 0, memory_used=5.0)

    def close(self) -> None:
        self.closed = True


def test_usage_is_averaged_from_report_to_report() -> None:
    gpus = Gpus()
    sampler = Sampler(MachineReader(), gpus, interval=5.0)
    for usage in (10.0, 20.0, 60.0):
        gpus.usage = usage
        assert sampler.step(0.0) == 5.0
    gpus.usage = 90.0
    wire = sampler.take().to_wire()
    assert wire["gpu_usage"] == [45.0, 100.0]
    assert wire["gpu_memory_used"] == [5.0]
    gpus.usage = 0.0
    assert sampler.take().to_wire()["gpu_usage"] == [0.0, 100.0]
    sampler.close()
    assert gpus.closed


def test_unknown_usage_can_be_left_out() -> None:
    sampler = Sampler(MachineReader(), Gpus(), default_gpu_usage=None)
    assert sampler.take().to_wire()["gpu_usage"] == [0.0]


def test_without_gpus_there_is_hardly_anything_to_do() -> None:
    sampler = Sampler(MachineReader(), NoGpus())
    assert sampler.step(0.0) >= 3600.0
    assert "gpu_usage" not in sampler.take().to_wire()
