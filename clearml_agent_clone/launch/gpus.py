"""What ``--gpus`` and ``--cpu-only`` mean."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from clearml_agent_clone.errors import UserError

_ONE = re.compile(r"\d+([.:]\d+)?|(GPU|MIG)-[0-9A-Za-z/-]+")
_RANGE = re.compile(r"(\d+)-(\d+)")


@attrs.frozen
class GpuChoice:
    """Which GPUs an agent uses.

    ``visible`` is what its tasks get as NVIDIA_VISIBLE_DEVICES: None (inherited), ``"all"``, ``"none"`` or a list.
    ``label`` is the part of the worker id: ``gpu0,1``, ``cpu`` or empty.
    """

    visible: str | None = None
    label: str = ""


def choose_gpus(gpus: str | None, *, cpu_only: bool, environ: Mapping[str, str]) -> GpuChoice:
    """The choice from the command line, else from the variables that the agent was started with.

    Raises:
        UserError: the list cannot be read, or both flags were given.
    """
    if gpus is not None and cpu_only:
        raise UserError(
            f'"--gpus {gpus}" and "--cpu-only" contradict each other', remedy="Give one of them", code="gpus"
        )
    if cpu_only:
        return GpuChoice("none", "cpu")
    if gpus is not None and not _in_kubernetes(environ):
        text = gpus.strip()
        if text == "all":
            return GpuChoice("all", "gpuall")
        if text == "none":
            return GpuChoice("none", "cpu")
        return GpuChoice(_expand(text), "gpu" + text.replace(":", "."))
    inherited = environ.get("NVIDIA_VISIBLE_DEVICES") or environ.get("CUDA_VISIBLE_DEVICES") or ""
    if inherited == "none":
        return GpuChoice(None, "cpu")
    return GpuChoice(None, "gpu" + inherited.replace(":", ".") if inherited else "")


def _in_kubernetes(environ: Mapping[str, str]) -> bool:
    """There the device plug-in has chosen already."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST") or environ.get("KUBERNETES_PORT"))


def _expand(text: str) -> str:
    """``0-2,5`` → ``0,1,2,5``; ``0.1`` (MIG) → ``0:1``; today's agent exports ``0-3`` as it is, which CUDA ignores."""
    devices: list[str] = []
    for part in text.split(","):
        piece = part.strip()
        if (found := _RANGE.fullmatch(piece)) and int(found[1]) <= int(found[2]) < 1024:
            devices += [str(number) for number in range(int(found[1]), int(found[2]) + 1)]
        elif _ONE.fullmatch(piece):
            devices.append(piece.replace(".", ":") if piece[0].isdigit() else piece)
        else:
            raise UserError(
                f'--gpus: "{piece}" in "{text}" is not a GPU',
                remedy='Write indices (0,1), a range (0-3), UUIDs, MIG devices (0:1), "all" or "none"',
                code="gpus",
            )
    return ",".join(dict.fromkeys(devices))
