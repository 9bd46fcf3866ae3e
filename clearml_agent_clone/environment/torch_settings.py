"""The part of the configuration that PyTorch's builds depend on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from clearml_agent_clone.config.settings import Settings

_OWN = "https://download.pytorch.org/whl"
_PM = "agent.package_manager."
_NO_GPU = frozenset({"none", "void", "-1"})


@attrs.frozen
class TorchSettings:
    """How the builds of PyTorch are chosen.

    Args:
        resolve: ``none`` takes torch like any other package.
        backend: uv's torch backend, set by the user; it beats all else.
        cuda: CUDA version in place of that of the driver: ``12.4``, ``124``, ``0`` for none.
        cpu_only: why builds for CPU are wanted; empty when they are not.
        driver: version of the NVIDIA driver in place of the one that is found.
        nightly: take nightly builds.
        index_template: an index in place of PyTorch's, with ``{}`` for the CUDA version; the others likewise.
        superseded: keys that are set and have no effect.
        own: PyTorch's own indexes.
        patience: seconds in which an index has to answer.
        memory: file that remembers which index did not answer; None remembers nothing.
        root: where ``dev``, ``proc`` and ``sys`` are.
    """

    resolve: str = "pip"
    backend: str = ""
    cuda: str = ""
    cpu_only: str = ""
    driver: str = ""
    nightly: bool = False
    index_template: str = ""
    nightly_template: str = ""
    rocm_template: str = ""
    nightly_rocm_template: str = ""
    superseded: tuple[str, ...] = ()
    own: str = _OWN
    patience: float = 3.0
    memory: Path | None = None
    root: Path = Path("/")

    @classmethod
    def from_settings(cls, settings: Settings, environ: Mapping[str, str]) -> TorchSettings:
        """Gather what matters here from the whole configuration and the agent's variables."""
        agent = settings.agent
        manager = agent.package_manager
        unused = ("torch_page", "torch_nightly_page", "torch_url_template", "torch_url_template_prefix")
        superseded = [_PM + name for name in unused if getattr(manager, name)]
        if manager.pytorch_resolve == "direct":
            superseded.append(_PM + "pytorch_resolve (direct)")
        return cls(
            resolve=manager.pytorch_resolve,
            backend=environ.get("UV_TORCH_BACKEND", "").strip(),
            cuda=agent.cuda_version.strip(),
            cpu_only=_cpu_only(agent.cpu_only, environ),
            driver=environ.get("UV_CUDA_DRIVER_VERSION", "").strip(),
            nightly=manager.torch_nightly,
            index_template=manager.extra_index_url_template,
            nightly_template=manager.nightly_extra_index_url_template,
            rocm_template=manager.rocm_extra_index_url_template,
            nightly_rocm_template=manager.nightly_rocm_extra_index_url_template,
            superseded=tuple(superseded),
            memory=settings.state_dir / "torch-index.json",
        )

    def template(self, rocm: str) -> str:
        """The configured template of the index of builds; ``rocm`` is not empty for those for AMD's GPUs."""
        if self.nightly:
            return self.nightly_rocm_template if rocm else self.nightly_template
        return self.rocm_template if rocm else self.index_template

    def own_index(self, backend: str) -> str:
        """PyTorch's own index of builds for ``backend``."""
        return f"{self.own}/{'nightly/' if self.nightly else ''}{backend}"


def _cpu_only(asked: bool | None, environ: Mapping[str, str]) -> str:
    if asked:
        return "agent.cpu_only is set"
    for name in ("NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"):
        if environ.get(name, "").strip().lower() in _NO_GPU:
            return f"{name} leaves it no GPU"
    return ""
