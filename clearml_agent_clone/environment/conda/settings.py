"""The part of the configuration that conda environments depend on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from clearml_agent_clone.config.settings import Settings

_TRUE = {"1", "true", "yes", "on"}
_DRIVER = Path("/proc/driver/nvidia/version")


@attrs.frozen
class CondaSettings:
    """How conda environments are made.

    Args:
        channels: where packages come from (``conda_channels``); may carry credentials.
        full_update: record the whole environment with the task (``conda_full_env_update``).
        base: install into the base environment of conda (``use_conda_base_env``).
        prepared: a prepared environment to use as it is: a folder, or an archive made by conda-pack.
        by_image: the task's container image names such an environment (``conda_env_as_base_docker``).
        packages_dir: where the built-in installer keeps packages; best on the file system of the store. None keeps none.
        cuda: ``agent.cuda_version``: empty to look for a driver, ``0`` for none.
        driver: the file that tells which NVIDIA driver runs.
    """

    channels: tuple[str, ...] = ("conda-forge",)
    full_update: bool = False
    base: bool = False
    prepared: str = ""
    by_image: bool = False
    packages_dir: Path | None = None
    cuda: str = ""
    driver: Path = _DRIVER

    @classmethod
    def from_settings(cls, settings: Settings, environ: Mapping[str, str]) -> CondaSettings:
        """Gather what matters here from the whole configuration and the agent's environment variables."""
        manager, downloads = settings.agent.package_manager, settings.agent.pip_download_cache
        prepared = environ.get("CLEARML_CONDA_ENV_PACKAGE", "").strip()
        base = environ.get("CLEARML_USE_CONDA_BASE_ENV", "").strip().lower()
        return cls(
            channels=manager.conda_channels,
            full_update=manager.conda_full_env_update,
            base=base in _TRUE if base else manager.use_conda_base_env,
            prepared=prepared,
            by_image=manager.conda_env_as_base_docker,
            packages_dir=downloads.path / "conda" if downloads.enabled else None,
            cuda=settings.agent.cuda_version.strip(),
        )

    @property
    def has_cuda(self) -> bool:
        """Whether packages may use an NVIDIA GPU."""
        return self.cuda.strip("0.") != "" if self.cuda else self.driver.exists()

    @property
    def gpu(self) -> str:
        """What solutions depend on besides the lists: the CUDA version that was set, else the driver."""
        if self.cuda:
            return self.cuda
        try:
            return self.driver.read_text(errors="replace").partition("\n")[0]
        except OSError:
            return ""
