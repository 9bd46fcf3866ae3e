"""The keys that say which interpreter and which packages a task gets."""
# ruff: noqa: RUF009 - key() makes an attrs field, it is no default that instances would share

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.config.kinds import (
    MAYBE_PATH,
    NUMBER,
    PATH,
    SECONDS,
    SWITCH,
    TEXT,
    WHOLE,
    WORDS,
    choice,
)
from clearml_agent_clone.config.schema import Section, key

_PIP_VERSIONS = [
    "<20.2 ; python_version < '3.10'",
    "<22.3 ; python_version >= '3.10' and python_version <= '3.11'",
    ">=23,<26 ; python_version >= '3.12'",
]
_PM = "agent.package_manager."


@attrs.frozen(eq=False, repr=False)
class PackageManagerSettings(Section):
    """What installs the packages, and from where."""

    type: str = key(_PM + "type", choice("pip", "conda", "poetry", "uv"), "pip", "What installs the packages")
    pip_version: tuple[str, ...] = key(
        _PM + "pip_version",
        WORDS,
        _PIP_VERSIONS,
        "Which pip to install, as version specifiers with optional markers; empty for the latest",
    )
    pip_engine: str = key(
        _PM + "pip_engine",
        choice("auto", "uv", "pip"),
        "auto",
        "What installs requirement lines: uv, the real pip, or uv unless a pinned pip or a flag asks for the real one",
        own=True,
    )
    poetry_version: tuple[str, ...] = key(_PM + "poetry_version", WORDS, None, "Which poetry to install")
    poetry_install_extra_args: tuple[str, ...] = key(
        _PM + "poetry_install_extra_args", WORDS, None, "Further arguments of poetry install", embeds=True
    )
    poetry_files_from_repo_working_dir: bool = key(
        _PM + "poetry_files_from_repo_working_dir",
        SWITCH,
        False,
        "Look for poetry.lock in the task's working directory, not at the root of the repository",
    )
    uv_version: tuple[str, ...] = key(_PM + "uv_version", WORDS, None, "Which uv to use; the agent brings one")
    uv_sync_extra_args: tuple[str, ...] = key(
        _PM + "uv_sync_extra_args", WORDS, None, "Further arguments of uv sync", embeds=True
    )
    uv_run_extra_args: tuple[str, ...] = key(
        _PM + "uv_run_extra_args", WORDS, None, "Further arguments of uv run", embeds=True
    )
    uv_replace_pip: bool = key(_PM + "uv_replace_pip", SWITCH, False, "Use uv in place of pip for plain requirements")
    uv_sync_locked_if_lock_file: bool = key(
        _PM + "uv_sync_locked_if_lock_file", SWITCH, True, "Call uv sync with --locked when there is a lock file"
    )
    uv_unsafe_best_match: bool = key(
        _PM + "uv_unsafe_best_match", SWITCH, False, "Let uv take the best version of all indexes (unsafe-best-match)"
    )
    uv_files_from_repo_working_dir: bool = key(
        _PM + "uv_files_from_repo_working_dir",
        SWITCH,
        False,
        "Look for uv.lock in the task's working directory, not at the root of the repository",
    )
    system_site_packages: bool = key(
        _PM + "system_site_packages", SWITCH, False, "Let the environment see the packages of its interpreter"
    )
    force_upgrade: bool = key(_PM + "force_upgrade", SWITCH, False, "Upgrade packages that are there already")
    extra_index_url: tuple[str, ...] = key(_PM + "extra_index_url", WORDS, None, "Further package indexes", embeds=True)
    extra_pip_install_flags: tuple[str, ...] = key(
        _PM + "extra_pip_install_flags", WORDS, None, "Further flags of pip install", embeds=True
    )
    pip_legacy_resolver: tuple[str, ...] = key(
        _PM + "pip_legacy_resolver", WORDS, [">=20.3,<24.3"], "Versions of pip that are told to use their old resolver"
    )
    pytorch_resolve: str = key(
        _PM + "pytorch_resolve",
        choice("pip", "direct", "none"),
        "pip",
        "How the torch build for this machine's CUDA is found",
    )
    torch_nightly: bool = key(_PM + "torch_nightly", SWITCH, False, "Allow nightly builds of torch")
    torch_page: str = key(_PM + "torch_page", TEXT, None, "Page that lists torch wheels")
    torch_nightly_page: str = key(_PM + "torch_nightly_page", TEXT, None, "Page that lists nightly torch wheels")
    torch_url_template: str = key(_PM + "torch_url_template", TEXT, None, "Template of a torch wheel's URL")
    torch_url_template_prefix: str = key(
        _PM + "torch_url_template_prefix", TEXT, None, "Beginning of the URL of a torch wheel"
    )
    extra_index_url_template: str = key(
        _PM + "extra_index_url_template", TEXT, None, "Template of the index of torch builds for a CUDA version"
    )
    nightly_extra_index_url_template: str = key(
        _PM + "nightly_extra_index_url_template", TEXT, None, "The same for nightly builds"
    )
    rocm_extra_index_url_template: str = key(
        _PM + "rocm_extra_index_url_template", TEXT, None, "Template of the index of torch builds for a ROCm version"
    )
    nightly_rocm_extra_index_url_template: str = key(
        _PM + "nightly_rocm_extra_index_url_template", TEXT, None, "The same for nightly builds"
    )
    conda_channels: tuple[str, ...] = key(
        _PM + "conda_channels",
        WORDS,
        ["pytorch", "conda-forge", "nvidia", "defaults"],
        "Channels that conda installs from",
    )
    conda_full_env_update: bool = key(
        _PM + "conda_full_env_update", SWITCH, False, "Record the whole conda environment with the task"
    )
    conda_env_as_base_docker: bool = key(
        _PM + "conda_env_as_base_docker",
        SWITCH,
        False,
        "Take the task's container image as the name of a prepared conda environment",
    )
    use_conda_base_env: bool = key(
        _PM + "use_conda_base_env", SWITCH, False, "Install into the base environment of conda"
    )
    force_repo_requirements_txt: bool = key(
        _PM + "force_repo_requirements_txt",
        SWITCH,
        False,
        "Install the repository's requirements.txt in place of the packages recorded with the task",
    )
    force_original_requirements: bool = key(
        _PM + "force_original_requirements",
        SWITCH,
        False,
        "Install the packages as first recorded, not as an earlier run wrote them back",
    )
    priority_packages: tuple[str, ...] = key(
        _PM + "priority_packages", WORDS, None, "Packages to install before all others"
    )
    priority_optional_packages: tuple[str, ...] = key(
        _PM + "priority_optional_packages", WORDS, ["pygobject"], "The same, where a failure does no harm"
    )
    post_packages: tuple[str, ...] = key(
        _PM + "post_packages", WORDS, ["horovod"], "Packages to install after all others"
    )
    post_optional_packages: tuple[str, ...] = key(
        _PM + "post_optional_packages", WORDS, None, "The same, where a failure does no harm"
    )


@attrs.frozen(eq=False, repr=False)
class VenvsCacheSettings(Section):
    """The store of environments that can be used again."""

    path: Path | None = key(
        "agent.venvs_cache.path",
        MAYBE_PATH,
        "~/.clearml/venvs-cache",
        "Where environments are kept for later tasks; empty keeps none",
    )
    max_entries: int = key("agent.venvs_cache.max_entries", WHOLE, 10, "How many environments are kept")
    free_space_threshold_gb: float = key(
        "agent.venvs_cache.free_space_threshold_gb",
        NUMBER,
        2.0,
        "Keep no more environments when less than this is free on the disk",
    )
    max_age_days: float = key(
        "agent.venvs_cache.max_age_days",
        NUMBER,
        30,
        "How long after its last use an environment is kept; 0 for ever",
        own=True,
    )
    max_size_gb: float = key(
        "agent.venvs_cache.max_size_gb",
        NUMBER,
        0,
        "How much all kept environments may have together, shared files included; 0 for any size",
        own=True,
    )
    lock_timeout: float = key(
        "agent.venvs_cache.lock_timeout",
        SECONDS,
        30,
        "How long to wait for another task that builds the same environment and shows no sign of life",
    )


@attrs.frozen(eq=False, repr=False)
class PipDownloadCacheSettings(Section):
    """The folder of downloaded packages."""

    enabled: bool = key("agent.pip_download_cache.enabled", SWITCH, True, "Keep packages that were downloaded")
    path: Path = key(
        "agent.pip_download_cache.path", PATH, "~/.clearml/pip-download-cache", "Where downloaded packages are kept"
    )
