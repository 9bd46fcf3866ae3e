"""Which builds of PyTorch fit this machine. uv's torch backend does the work; here it is chosen, said, and left out
where PyTorch's own index cannot be reached.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from clearml_agent_clone.environment.model import EnvironmentPlan, Indexes, Stage, masked
from clearml_agent_clone.environment.requirements import Requirement, normal
from clearml_agent_clone.environment.torch_reach import remember, remembered, unreachable
from clearml_agent_clone.environment.torch_settings import TorchSettings
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.util.process import Cancel, Console

if TYPE_CHECKING:
    from clearml_agent_clone.environment.failures import Failure

FAMILY = frozenset({"torch", "torchvision", "torchaudio", "torchtext", "torchdata", "torchcsprng", "torcharrow"})
# What uv looks for in PyTorch's index alone when it is given a backend.
_ONLY_THERE = FAMILY | {
    *("torch-model-archiver", "torch-tb-profiler", "torchdistx", "torchserve", "triton"),
    *("pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu"),
}
_PIN = re.compile(
    r"^(?P<head>[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*={2,3}\s*[^\s;+]+)\+(?P<local>[a-z0-9.]+)(?P<tail>.*)$"
)
_OWN_PLACE = re.compile(r"pytorch|/whl/(?:cpu|cu\d+|rocm|xpu|nightly)", re.IGNORECASE)
_BACKEND = re.compile(r"cpu|xpu|auto|cu\d{2,3}|rocm\d+(?:\.\d+)*")
# The CUDA versions that PyTorch was built for, newest first, as uv names them.
_CUDA = (132, 130, 129, 128, 126, 125, 124, 123, 122, 121, 120, 118, 117, 116, 115, 114, 113, 112, 111, 110, 102, 101)
# From which driver on which of them run, as NVIDIA guarantees it within a major version; and the builds that PyTorch
# has published for most of its versions of that time.
_DRIVERS = (
    ((580, 65, 6), 13, 130),
    ((570, 26), 12, 128),
    ((550, 54, 14), 12, 124),
    ((525, 60, 13), 12, 121),
    ((450, 80, 2), 11, 118),
    ((418, 39), 10, 102),
)


@attrs.frozen
class Torch:
    """The builds of PyTorch that a plan takes.

    Args:
        backend: uv's torch backend; empty where ``index`` takes its place.
        driver: the NVIDIA driver that a backend ``auto`` is to go by.
        index: an index of such builds, used beside the others.
        probe: what is asked whether it can be reached, before anything is installed.
        shown: the builds, for the console.
        plain: recorded lines, and what they become when the builds cannot be had.
        for_pip: the index that a real pip is given in place of ``backend``.
    """

    backend: str = ""
    driver: str = ""
    index: str = ""
    probe: str = ""
    shown: str = ""
    plain: tuple[tuple[str, str], ...] = ()
    for_pip: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """What the content of an environment depends on. All drivers of one CUDA version are one."""
        return (self.backend, _capability(self.driver), self.index)

    @property
    def variables(self) -> dict[str, str]:
        """For uv."""
        found = {"UV_TORCH_BACKEND": self.backend, "UV_CUDA_DRIVER_VERSION": self.driver}
        return {name: value for name, value in found.items() if value}


class TorchIndexGone(AgentError):  # noqa: N818 - named by what happened
    """PyTorch's own index, which answered before, does not any more."""

    default_code = "torch-index-gone"


@attrs.frozen
class TorchChoice:
    """The builds (None: as for any other package), the requirements with what was changed for that, and notes."""

    torch: Torch | None
    requirements: tuple[Requirement, ...]
    notes: tuple[str, ...] = ()


@attrs.frozen
class _Builds:
    name: str
    why: str
    driver: str = ""


def choose_torch(
    requirements: Sequence[Requirement], indexes: Indexes, settings: TorchSettings, engine: str
) -> TorchChoice:
    """The builds for ``requirements``; looks at the machine only when they name PyTorch's packages."""
    wanted = [
        line for line in requirements if line.name in FAMILY and " @ " not in line.text and "--hash" not in line.text
    ]
    unchanged = tuple(requirements)
    if not wanted or sys.platform != "linux":
        return TorchChoice(None, unchanged)
    notes = [f"{key}: has no effect, uv's torch backend finds the builds" for key in settings.superseded]
    if why := _left_alone(indexes, settings):
        return TorchChoice(None, unchanged, (*notes, f"PyTorch: {why}"))
    builds = _builds(settings)
    builds, changed = _recorded(wanted, builds)
    names = {line.text: text for line, text in changed}
    notes += [f"{line.text}: used as {text}, of the builds for {_shown(builds)}" for line, text in changed]
    torch = _torch(builds, settings, engine)
    if torch is None:
        return TorchChoice(None, unchanged, (*notes, f"PyTorch: no index is known for {_shown(builds)}"))
    told = remembered(settings.memory, torch.probe)
    plain = tuple((line.text, text) for line in wanted if (text := names.get(line.text) or _stripped(line.text)))
    if told:
        notes.append(f"PyTorch: as the configured indexes have it, because {torch.probe} was found unreachable: {told}")
        return TorchChoice(None, _changed(unchanged, dict(plain), settings), tuple(notes))
    note = f"PyTorch: builds for {_shown(builds)} ({builds.why})"
    notes.append(note + (f", from {torch.index} too" if torch.index else ", from PyTorch's own index"))
    torch = attrs.evolve(torch, shown=_shown(builds), plain=plain)
    return TorchChoice(torch, _changed(unchanged, names, settings), tuple(notes))


def without(plan: EnvironmentPlan) -> EnvironmentPlan:
    """``plan`` with PyTorch's packages taken from the configured indexes, like all others; its key is to be made anew."""
    torch = plan.torch
    if torch is None:
        return plan
    plain = dict(torch.plain)

    def lines(given: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(plain.get(line, line) for line in given)

    return attrs.evolve(
        plan,
        torch=None,
        key=None,
        lines=lines(plan.lines),
        stages=tuple(attrs.evolve(stage, lines=lines(stage.lines)) for stage in plan.stages),
        pins=lines(plan.pins),
        indexes=_less(plan.indexes, torch.index),
        pip_indexes=_less(plan.pip_indexes, torch.index),
    )


def settled(plan: EnvironmentPlan, console: Console, cancel: Cancel | None) -> EnvironmentPlan:
    """``plan`` as it can be carried out here: without the builds where their index cannot be reached.

    Raises:
        Cancelled: ``cancel`` was set meanwhile.
    """
    torch = plan.torch
    if torch is None or not torch.probe:
        return plan
    settings = plan.settings.torch
    reason = unreachable(torch.probe, plan.indexes, plan.settings.environ, settings.patience, cancel)
    if not reason:
        return attrs.evolve(plan, torch=attrs.evolve(torch, probe=""))
    return given_up(plan, torch.probe, reason, console)


def given_up(plan: EnvironmentPlan, index: str, reason: str, console: Console) -> EnvironmentPlan:
    """``plan`` without the builds; says so, and remembers it for an hour."""
    remember(plan.settings.torch.memory, index, reason)
    console.say(f"{masked(index)} cannot be reached ({reason}). PyTorch comes from {plan.indexes.shown} instead")
    return without(plan)


def is_about(failure: Failure) -> bool:
    """Whether ``failure`` is one of PyTorch's own index or of a package that is looked for there alone."""
    return failure.package.lower().replace("_", "-") in _ONLY_THERE or "download.pytorch.org" in failure.message


def torch_line(line: str) -> bool:
    """Whether the requirement ``line`` is one of PyTorch's packages."""
    match = re.match(r"[A-Za-z0-9._-]+", line)
    return match is not None and normal(match[0]) in FAMILY


def with_index(indexes: Indexes, torch: Torch | None) -> Indexes:
    """``indexes`` with that of the builds in front of the further ones."""
    if torch is None or not torch.index:
        return indexes
    return attrs.evolve(indexes, extra=(torch.index, *(url for url in indexes.extra if url != torch.index)))


def stage_without_builds(stage: Stage, torch: Torch) -> Stage:
    """``stage`` for an attempt without the builds."""
    plain = dict(torch.plain)
    return attrs.evolve(stage, lines=tuple(plain.get(line, line) for line in stage.lines))


def _less(indexes: Indexes, index: str) -> Indexes:
    return attrs.evolve(indexes, extra=tuple(url for url in indexes.extra if url != index)) if index else indexes


def _left_alone(indexes: Indexes, settings: TorchSettings) -> str:
    if settings.resolve == "none":
        return "as the configured indexes have it (agent.package_manager.pytorch_resolve is none)"
    if indexes.none:
        return "as the configured places have it, no index is to be used"
    named = next(
        (
            url
            for url in (indexes.main, *indexes.extra, *indexes.find_links)
            if _OWN_PLACE.search(url.partition("@")[2] or url)
        ),
        "",
    )
    return f"from {named}, which is configured for it" if named else ""


def _builds(settings: TorchSettings) -> _Builds:
    """What fits this machine."""
    if settings.backend:
        return _Builds(settings.backend, "UV_TORCH_BACKEND is set", settings.driver)
    if settings.cpu_only:
        return _Builds("cpu", settings.cpu_only)
    if settings.cuda:
        return _set(settings.cuda)
    driver = settings.driver or nvidia_driver(settings.root)
    if driver:
        return _Builds("auto", f"NVIDIA driver {driver}", driver)
    if any((settings.root / name).exists() for name in ("dev/nvidiactl", "dev/dxg", "dev/kfd")):
        return _Builds("auto", "there is a GPU, and uv asks its driver")
    return _Builds("cpu", "there is no GPU")


def _set(value: str) -> _Builds:
    text = value.strip().lower()
    why = f"agent.cuda_version is {value}"
    if _BACKEND.fullmatch(text):
        return _Builds(text, why)
    match = re.match(r"(\d+)(?:\.(\d+))?", text)
    if match is None:
        return _Builds("cpu", f"{why}, which is no version")
    number = int(match[1]) * 10 + int(match[2]) if match[2] else int(match[1])
    number = number * 10 if not match[2] and number < 20 else number  # "12" is 12.0; "124" is 12.4
    if number == 0:
        return _Builds("cpu", why)
    known = next((cuda for cuda in _CUDA if cuda <= number), _CUDA[-1])
    return _Builds(f"cu{known}", why if known == number else f"{why}; the nearest that PyTorch is built for")


def _recorded(wanted: Sequence[Requirement], builds: _Builds) -> tuple[_Builds, list[tuple[Requirement, str]]]:
    """What recorded builds such as ``+cu118`` mean here: kept where they run, else the builds of this machine."""
    pinned = [(line, match) for line in wanted if (match := _PIN.match(line.text))]
    locals_ = {match["local"] for _, match in pinned}
    if len(locals_) == 1:
        (local,) = locals_
        if local == builds.name or (local.startswith("cu") and _runs(local, builds)):
            return _Builds(local, "as recorded", builds.driver), []
    return builds, [(line, match["head"] + match["tail"]) for line, match in pinned]


def _runs(local: str, builds: _Builds) -> bool:
    """Whether builds for CUDA ``local`` run with the driver that is there."""
    major = next((major for version, major, _ in _DRIVERS if builds.driver and _version(builds.driver) >= version), 0)
    number = local.removeprefix("cu")
    return builds.name == "auto" and number.isdigit() and int(number) in _CUDA and int(number) // 10 <= major


def _torch(builds: _Builds, settings: TorchSettings, engine: str) -> Torch | None:
    template = settings.template(builds.name if builds.name.startswith("rocm") else "")
    index = ""
    backend = builds.name
    if template or settings.nightly or engine != "uv":
        backend = _concrete(builds)
        if not backend:
            return None
        index = _filled(template, backend) if template else settings.own_index(backend)
    probe = index or settings.own_index("cpu" if builds.name == "auto" else builds.name)
    if index:
        return Torch(index=index, probe=probe)
    concrete = _concrete(builds)
    for_pip = settings.own_index(concrete) if concrete else ""
    driver = builds.driver if builds.name == "auto" else ""
    return Torch(backend=builds.name, driver=driver, probe=probe, for_pip=for_pip)


def _concrete(builds: _Builds) -> str:
    """A single kind of builds for the machine, for engines that cannot look for themselves."""
    if builds.name != "auto":
        return builds.name
    found = next((cuda for version, _, cuda in _DRIVERS if builds.driver and _version(builds.driver) >= version), 0)
    return f"cu{found}" if found else ""


def _filled(template: str, backend: str) -> str:
    """``template`` for ``backend``: ``…/whl/cu{}/`` was made for numbers, and gets ``cpu`` in place of all of it."""
    number = re.match(r"cu(\d+)$", backend)
    if number:
        return template.replace("{}", number[1], 1)
    rocm = re.match(r"rocm(\d+)\.(\d+)", backend)
    if rocm and template.count("{}") == 2:
        return template.replace("{}", rocm[1], 1).replace("{}", rocm[2], 1)
    return re.sub(r"(?:cu|rocm)?\{\}(?:\.\{\})?", backend, template, count=1)


def _changed(
    requirements: Sequence[Requirement], names: Mapping[str, str], settings: TorchSettings
) -> tuple[Requirement, ...]:
    def text(line: Requirement) -> str:
        found = names.get(line.text, line.text)
        if settings.nightly and line.name in FAMILY and not line.pin:  # a bound that is one allows pre-releases of it
            head, mark, marker = found.partition(";")
            found = f"{head.rstrip()}{',' if re.search('[<>=~!]', head) else ''}>=0.dev0{' ' + mark + marker if mark else ''}"
        return found

    return tuple(attrs.evolve(line, text=text(line)) for line in requirements)


def _stripped(text: str) -> str:
    match = _PIN.match(text)
    return match["head"] + match["tail"] if match else ""


def _shown(builds: _Builds) -> str:
    if builds.name != "auto":
        return {"cpu": "CPU", "xpu": "Intel GPUs"}.get(builds.name, builds.name)
    return _capability(builds.driver) or "its GPU"


def _capability(driver: str) -> str:
    major = next((major for version, major, _ in _DRIVERS if driver and _version(driver) >= version), 0)
    if driver:
        return f"CUDA {major} or older" if major else "CUDA 9 or older"
    return ""


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def nvidia_driver(root: Path) -> str:
    """Version of the NVIDIA driver below ``root``, such as ``550.54.15``; empty when there is none."""
    for name in ("sys/module/nvidia/version", "proc/driver/nvidia/version"):
        try:
            match = re.search(r"(?<![\d.])(\d{3}\.\d+(?:\.\d+)?)(?![\d.])", (root / name).read_text(errors="replace"))
        except OSError:
            continue
        if match:
            return match[1]
    return ""
