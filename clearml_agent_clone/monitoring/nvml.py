"""NVIDIA GPUs, read through the driver's management library."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.monitoring.gpu import GpuStats

log = logging.getLogger(__name__)

_MEGABYTE = 1024.0 * 1024.0
_OPEN_AGAIN = 300.0


def load_nvml() -> Any:
    """The module ``pynvml``, or None when it is not installed."""
    try:
        return importlib.import_module("pynvml")
    except ImportError:
        log.info("nvidia-ml-py is not installed: GPUs are not reported")
        return None


@attrs.frozen
class _Device:
    """A GPU or MIG instance. ``parent`` is the handle of the whole GPU, which alone has a temperature."""

    index: int
    instance: int | None
    handle: Any
    parent: Any
    names: frozenset[str]

    @property
    def key(self) -> tuple[int, int]:
        return self.index, -1 if self.instance is None else self.instance


class NvmlReader:
    """Reads the GPUs that were asked for.

    A GPU that fails is left out of the sample, and asked again for the next one. A driver that is missing or was
    replaced under us is tried again every few minutes.

    Args:
        nvml: the module ``pynvml``, or something that looks like it.
        wanted: numbers, UUIDs and MIG devices in lower case; None for all. When it names none of the GPUs that are
            there, all are read: a name that we do not understand should not hide them.
        clock: seconds of a monotonic clock.
    """

    def __init__(
        self, nvml: Any, wanted: frozenset[str] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._nvml = nvml
        self._wanted = wanted
        self._clock = clock
        self._is_open = False
        self._open_at = float("-inf")
        self._devices: tuple[_Device, ...] = ()

    def loads(self) -> Mapping[tuple[int, int], float]:
        """As ``GpuReader.loads``; of the devices that the last ``read`` found."""
        loads = ((device.key, self._usage(device)) for device in self._devices or self._find())
        return {key: load for key, load in loads if load is not None}

    def read(self) -> tuple[GpuStats, ...]:
        """As ``GpuReader.read``. Looks for the devices anew: MIG instances come and go, and a GPU may be lost."""
        self._devices = self._find()
        return tuple(map(self._stats, self._devices))

    def close(self) -> None:
        """As ``GpuReader.close``."""
        self._devices = ()
        if self._is_open:
            self._is_open = False
            self._ask(self._nvml.nvmlShutdown)

    def _find(self) -> tuple[_Device, ...]:
        if not self._opened():
            return ()
        count = self._ask(self._nvml.nvmlDeviceGetCount)
        if count is None:
            self.close()  # the driver was unloaded or replaced: begin anew, later
            return ()
        found = [device for index in range(count) for device in self._devices_of(index)]
        chosen = [device for device in found if self._wanted is None or device.names & self._wanted]
        return tuple(chosen or found)

    def _opened(self) -> bool:
        if not self._is_open and self._clock() >= self._open_at:
            self._open_at = self._clock() + _OPEN_AGAIN
            try:
                self._nvml.nvmlInit()
            except self._nvml.NVMLError as error:
                log.info("GPUs are not reported: %s", error)
            else:
                self._is_open = True
        return self._is_open

    def _devices_of(self, index: int) -> list[_Device]:
        nvml = self._nvml
        handle = self._ask(nvml.nvmlDeviceGetHandleByIndex, index)
        if handle is None:
            return []
        names = {str(index), *self._uuid(handle)}
        mode = self._ask(nvml.nvmlDeviceGetMigMode, handle)
        if not mode or not mode[0]:
            return [_Device(index, None, handle, handle, frozenset(names))]
        instances = []
        for number in range(self._ask(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            instance = self._ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, number)
            if instance is not None:
                own = {f"{index}:{number}", *self._uuid(instance)}
                instances.append(_Device(index, number, instance, handle, frozenset(names | own)))
        return instances

    def _uuid(self, handle: Any) -> set[str]:
        uuid = self._ask(self._nvml.nvmlDeviceGetUUID, handle)
        if uuid is None:
            return set()
        return {(uuid.decode() if isinstance(uuid, bytes) else str(uuid)).lower()}

    def _stats(self, device: _Device) -> GpuStats:
        nvml = self._nvml
        memory = self._ask(nvml.nvmlDeviceGetMemoryInfo, device.handle)
        return GpuStats(
            device.index,
            device.instance,
            usage=self._usage(device),
            temperature=self._ask(nvml.nvmlDeviceGetTemperature, device.parent, nvml.NVML_TEMPERATURE_GPU),
            memory_used=None if memory is None else memory.used / _MEGABYTE,
            memory_free=None if memory is None else memory.free / _MEGABYTE,
        )

    def _usage(self, device: _Device) -> float | None:
        if device.instance is not None:
            return None  # the driver counts the usage of whole GPUs only
        rates = self._ask(self._nvml.nvmlDeviceGetUtilizationRates, device.handle)
        return None if rates is None else float(rates.gpu)

    def _ask(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """The function's answer, or None: no GPU has all of them, and a lost one has none."""
        try:
            return function(*arguments)
        except self._nvml.NVMLError:
            return None
