"""The part of the configuration that environments depend on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from clearml_agent_clone.environment.conda.settings import CondaSettings
from clearml_agent_clone.environment.install_settings import InstallSettings
from clearml_agent_clone.environment.order import OrderSettings
from clearml_agent_clone.environment.projects.settings import ProjectSettings, forced_manager
from clearml_agent_clone.environment.torch_settings import TorchSettings

if TYPE_CHECKING:
    from clearml_agent_clone.config.settings import Settings
    from clearml_agent_clone.environment.engines import Place

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"", "0", "false", "no", "off"}


@attrs.frozen
class EnvironmentSettings:
    """How environments are made on this machine.

    Args:
        state_dir: the agent's own folder; what interpreters said about themselves is remembered there.
        store_dir: where environments are kept for later tasks (``venvs_cache.path``); None keeps none.
        builds_dir: where an environment that cannot be kept is built (``venvs_dir``).
        uv_cache_dir: uv's cache; best on the file system of ``store_dir``, because then files are linked. None throws
            downloads away after each build.
        installing: with what requirement lines are installed.
        install_into: do not make an environment, install into this interpreter: a path, or ``found`` for the one the
            task asks for; empty makes an environment.
        skip: no Python work at all; the task runs with the agent's own interpreter.
        order: packages that are installed before or after all others.
        max_age: seconds after its last use for which an environment is kept; 0 for any number.
        max_size: bytes that all kept environments may have together; 0 for any number.
        free_space: bytes that must stay free on the disk of the store.
        lock_timeout: seconds for which a silent builder of the same environment is waited for.
        torch: how the builds of PyTorch are chosen.
        conda: how conda environments are made.
        projects: how poetry and uv projects are read.
        variables: for the programs that install (git credentials by an askpass program, for instance).
        environ: the agent's own environment: PATH, PYENV_ROOT, PIP_INDEX_URL and their kind.
        place: where installing programs run; None for this machine as it is.
    """

    state_dir: Path
    store_dir: Path | None
    builds_dir: Path
    uv_cache_dir: Path | None = None
    manager: str = "pip"
    installing: InstallSettings = attrs.Factory(InstallSettings)
    python_binary: str = ""
    default_python: str = ""
    ignore_requested_python_version: bool = False
    python_install: bool = False
    install_into: str = ""
    skip: bool = False
    system_site_packages: bool = False
    force_upgrade: bool = False
    force_repo_requirements_txt: bool = False
    force_original_requirements: bool = False
    extra_index_url: tuple[str, ...] = ()
    extra_pip_install_flags: tuple[str, ...] = ()
    order: OrderSettings = attrs.Factory(OrderSettings)
    max_entries: int = 10
    max_age: float = 0.0
    max_size: int = 0
    free_space: int = 2_000_000_000
    lock_timeout: float = 30.0
    torch: TorchSettings = attrs.Factory(TorchSettings)
    conda: CondaSettings = attrs.Factory(CondaSettings)
    projects: ProjectSettings = attrs.Factory(ProjectSettings)
    variables: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    environ: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    place: Place | None = attrs.field(default=None, repr=False, eq=False)

    @classmethod
    def from_settings(
        cls, settings: Settings, environ: Mapping[str, str], variables: Mapping[str, str] | None = None
    ) -> EnvironmentSettings:
        """Gather what matters here from the whole configuration and the agent's environment variables."""
        agent = settings.agent
        manager = agent.package_manager
        cache = agent.venvs_cache
        downloads = agent.pip_download_cache
        own_cache = environ.get("UV_CACHE_DIR", "")
        kept = downloads.path / "uv" if downloads.enabled else None
        flags = environ.get("CLEARML_EXTRA_PIP_INSTALL_FLAGS", "")
        return cls(
            state_dir=settings.state_dir,
            store_dir=cache.path,
            builds_dir=agent.venvs_dir,
            uv_cache_dir=Path(own_cache).expanduser() if own_cache else kept,
            manager=forced_manager(environ) or manager.type,
            projects=ProjectSettings.from_settings(manager, environ),
            installing=InstallSettings.from_settings(settings, environ),
            torch=TorchSettings.from_settings(settings, environ),
            python_binary=agent.python_binary,
            default_python=agent.default_python,
            ignore_requested_python_version=agent.ignore_requested_python_version,
            python_install=agent.python_install,
            install_into=_install_into(environ.get("CLEARML_AGENT_SKIP_PIP_VENV_INSTALL", "")),
            skip=environ.get("CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL", "").strip().lower() in _TRUE,
            system_site_packages=manager.system_site_packages
            or environ.get("CLEARML_AGENT_FORCE_SYSTEM_SITE_PACKAGES", "").strip().lower() in _TRUE,
            force_upgrade=manager.force_upgrade,
            force_repo_requirements_txt=manager.force_repo_requirements_txt,
            force_original_requirements=manager.force_original_requirements,
            extra_index_url=manager.extra_index_url,
            extra_pip_install_flags=tuple(shlex.split(flags)) if flags else manager.extra_pip_install_flags,
            order=OrderSettings.from_manager(manager),
            max_entries=cache.max_entries,
            max_age=cache.max_age_days * 86400.0,
            max_size=int(cache.max_size_gb * 1e9),
            free_space=int(cache.free_space_threshold_gb * 1e9),
            lock_timeout=cache.lock_timeout,
            variables=dict(variables or {}),
            environ=dict(environ),
            conda=CondaSettings.from_settings(settings, environ),
        )


def _install_into(value: str) -> str:
    folded = value.strip().lower()
    if folded in _FALSE:
        return ""
    return "found" if folded in _TRUE else value.strip()
