"""The keys that say how tasks run in containers."""
# ruff: noqa: RUF009 - key() makes an attrs field, it is no default that instances would share

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.config.kinds import (
    MAYBE_PATH,
    NAMES,
    OBJECTS,
    PATH,
    PORT_RANGE,
    SECONDS,
    SWITCH,
    TEXT,
    WORDS,
    choice,
)
from clearml_agent_clone.config.schema import Section, group, key

_MOUNTS = "agent.docker_internal_mounts."
_BOOT = "agent.bootstrap."
_PROTECTED = ["privileged", "security-opt", "network", "ipc"]


def _image_rules() -> list[dict[str, Any]]:
    """The image for each Python version that a task may have recorded."""
    return [
        {
            "image": f"python:3.{minor}-bullseye",
            "arguments": "--ipc=host",
            "match": {"script": {"binary": f"python3.{minor}$"}},
        }
        for minor in range(6, 14)
    ]


@attrs.frozen(eq=False, repr=False)
class DefaultDockerSettings(Section):
    """The container of tasks that name none."""

    image: str = key(
        "agent.default_docker.image",
        TEXT,
        "nvidia/cuda:12.6.3-cudnn-runtime-ubuntu20.04",
        "Image for tasks that name none",
    )
    arguments: tuple[str, ...] = key(
        "agent.default_docker.arguments", WORDS, None, "Arguments of docker run that go with that image", embeds=True
    )
    update_back_task: bool = key(
        "agent.default_docker.update_back_task", SWITCH, True, "Record the chosen image and arguments with the task"
    )
    match_rules: tuple[Mapping[str, Any], ...] = key(
        "agent.default_docker.match_rules",
        OBJECTS,
        _image_rules(),
        "Rules that choose image, arguments and setup script by what the task recorded; the first match is used",
        embeds=True,
    )


@attrs.frozen(eq=False, repr=False)
class DockerMountSettings(Section):
    """Where the host's folders appear inside a container. Paths of the container: ``~`` is that of its user."""

    bootstrap_folder: str = key(_MOUNTS + "bootstrap_folder", TEXT, "/.clearml.bootstrap", "The agent's own tools")
    bootstrap_cache: str = key(_MOUNTS + "bootstrap_cache", TEXT, "/.clearml.bootstrap.cache", "Their cache")
    sdk_cache: str = key(
        _MOUNTS + "sdk_cache", TEXT, "/clearml_agent_cache", "The SDK's cache of datasets and artifacts"
    )
    apt_cache: str = key(_MOUNTS + "apt_cache", TEXT, "/var/cache/apt/archives", "Downloads of apt")
    ssh_folder: str = key(_MOUNTS + "ssh_folder", TEXT, "~/.ssh", "Where the ssh keys are copied to")
    ssh_ro_folder: str = key(_MOUNTS + "ssh_ro_folder", TEXT, "/.ssh", "Where the ssh keys are mounted read-only")
    pip_cache: str = key(_MOUNTS + "pip_cache", TEXT, "/root/.cache/pip", "Cache of pip")
    poetry_cache: str = key(_MOUNTS + "poetry_cache", TEXT, "/root/.cache/pypoetry", "Cache of poetry")
    vcs_cache: str = key(_MOUNTS + "vcs_cache", TEXT, "/root/.clearml/vcs-cache", "Clones of repositories")
    venvs_cache: str = key(
        _MOUNTS + "venvs_cache", TEXT, "/root/.clearml/venvs-cache", "Environments kept for later tasks"
    )
    venv_build: str = key(_MOUNTS + "venv_build", TEXT, "~/.clearml/venvs-builds", "The task's environment")
    pip_download: str = key(_MOUNTS + "pip_download", TEXT, "/root/.clearml/pip-download-cache", "Downloaded packages")


@attrs.frozen(eq=False, repr=False)
class HideDockerEnvSettings(Section):
    """What is masked in a docker command before it is shown."""

    enabled: bool = key(
        "agent.hide_docker_command_env_vars.enabled", SWITCH, True, "Mask secret -e values in printed docker commands"
    )
    extra_keys: tuple[str, ...] = key(
        "agent.hide_docker_command_env_vars.extra_keys", WORDS, [], "Further variables to mask"
    )
    parse_embedded_urls: bool = key(
        "agent.hide_docker_command_env_vars.parse_embedded_urls", SWITCH, True, "Mask passwords in URLs too"
    )


@attrs.frozen(eq=False, repr=False)
class BootstrapSettings(Section):
    """Ready-made tools for containers."""

    use_bootstrap: bool = key(
        _BOOT + "use_bootstrap", SWITCH, True, "Mount ready-made tools into containers in place of installing them"
    )
    check_for_latest: bool = key(_BOOT + "check_for_latest", SWITCH, False, "Look for a newer bundle at start")
    check_for_latest_timeout: float = key(_BOOT + "check_for_latest_timeout", SECONDS, 5, "How long that look may take")
    host_bootstrap_dir: Path = key(
        _BOOT + "host_bootstrap_dir", PATH, "~/.clearml.bootstrap", "Where the bundle is on the host"
    )
    host_bootstrap_cache_dir: Path | None = key(
        _BOOT + "host_bootstrap_cache_dir",
        MAYBE_PATH,
        "~/.clearml.bootstrap.cache",
        "Where its cache is on the host; empty for none",
    )
    skip_git_installation: bool = key(
        _BOOT + "skip_git_installation", SWITCH, True, "Install no git in containers that lack it"
    )
    always_use_static_git: bool = key(
        _BOOT + "always_use_static_git", SWITCH, False, "Use the bundle's git even where there is one"
    )
    always_install_ca_cert: bool = key(
        _BOOT + "always_install_ca_cert", SWITCH, True, "Install CA certificates in containers"
    )
    map_external_ssl_cert: str = key(
        _BOOT + "map_external_ssl_cert", TEXT, None, "CA bundle of the host to use in containers"
    )
    uv_python_meta_file: str = key(
        _BOOT + "uv_python_meta_file", TEXT, None, "Path or URL of uv's list of Python downloads"
    )
    uv_default_index_url: str = key(
        _BOOT + "uv_default_index_url", TEXT, None, "UV_DEFAULT_INDEX inside containers", embeds=True
    )
    uv_index_url: str = key(_BOOT + "uv_index_url", TEXT, None, "UV_INDEX inside containers", embeds=True)
    uv_use_builtin_tls: bool = key(_BOOT + "uv_use_builtin_tls", SWITCH, False, "Let uv use the certificates it brings")
    uv_insecure: str = key(_BOOT + "uv_insecure", TEXT, None, "Hosts whose certificates uv does not check")
    git_insecure: str = key(_BOOT + "git_insecure", TEXT, None, "Let git check no certificates inside containers")
    always_update: bool = key(_BOOT + "always_update", SWITCH, False, "Fetch the newest bundle for each container")
    uv_def_python_ver: str = key(_BOOT + "uv_def_python_ver", TEXT, None, "Python version for tasks that recorded none")
    auto_update_uv_bin: bool = key(_BOOT + "auto_update_uv_bin", SWITCH, False, "Keep the bundle's uv up to date")
    auto_update_uv_url_gh: str = key(_BOOT + "auto_update_uv_url_gh", TEXT, None, "GitHub address of uv's installer")
    auto_update_uv_url_ghe: str = key(
        _BOOT + "auto_update_uv_url_ghe", TEXT, None, "GitHub Enterprise address of uv's installer"
    )


@attrs.frozen(eq=False, repr=False)
class DockerSettings(Section):
    """How tasks run in containers."""

    default: DefaultDockerSettings = group(DefaultDockerSettings)
    mounts: DockerMountSettings = group(DockerMountSettings)
    hide_env: HideDockerEnvSettings = group(HideDockerEnvSettings)
    disable_task_override: bool = key(
        "agent.disable_task_docker_override", SWITCH, False, "Ignore the image and arguments that tasks name"
    )
    force_pull: bool = key("agent.docker_force_pull", SWITCH, False, "Pull the image before each task")
    extra_arguments: tuple[str, ...] = key(
        "agent.extra_docker_arguments",
        WORDS,
        None,
        "Arguments of docker run for every task; they are not recorded with it",
        embeds=True,
    )
    extra_precedes_task: bool = key(
        "agent.docker_args_extra_precedes_task", SWITCH, True, "Those arguments win over the task's own"
    )
    protected_extra_args: tuple[str, ...] = key(
        "agent.protected_docker_extra_args", WORDS, _PROTECTED, "The switches for which that holds"
    )
    args_filters: tuple[str, ...] = key(
        "agent.docker_args_filters",
        WORDS,
        None,
        "Regular expressions for what a task's own arguments may be; absent allows all",
    )
    task_args_policy: str = key(
        "agent.docker_task_args_policy",
        choice("strict", "permissive"),
        "strict",
        "Whether tasks need leave for arguments that reach beyond their container (privileges, host folders, devices)",
        own=True,
    )
    task_args_allowed: tuple[str, ...] = key(
        "agent.docker_task_args_allowed",
        WORDS,
        [],
        "That leave: options that tasks may use, such as --ipc=host, or --device for any value",
        own=True,
    )
    task_mounts_allowed: tuple[str, ...] = key(
        "agent.docker_task_mounts_allowed",
        WORDS,
        [],
        "Folders of the host and names of volumes that tasks may mount; /data:ro to read only",
        own=True,
    )
    forbidden_args: tuple[str, ...] = key(
        "agent.forbidden_docker_args", WORDS, ["entrypoint"], "Switches that are taken out wherever they come from"
    )
    allowed_port_range: tuple[int, int] | None = key(
        "agent.docker_args_allowed_port_range", PORT_RANGE, None, "Ports of the host that a task's -p may use"
    )
    allow_host_environ: bool = key(
        "agent.docker_allow_host_environ", SWITCH, False, "Replace $NAME in a task's -e arguments by the host's value"
    )
    extra_shell_script: tuple[str, ...] = key(
        "agent.extra_docker_shell_script", WORDS, None, "Commands to run in the container before the task", embeds=True
    )
    init_bash_script: tuple[str, ...] = key(
        "agent.docker_init_bash_script",
        WORDS,
        None,
        "Commands in place of the container's usual preparation",
        embeds=True,
    )
    preprocess_bash_script: tuple[str, ...] = key(
        "agent.docker_preprocess_bash_script", WORDS, None, "Commands before the container's preparation", embeds=True
    )
    install_opencv_libs: bool = key(
        "agent.docker_install_opencv_libs", SWITCH, True, "Install the libraries that OpenCV needs"
    )
    use_activated_venv: bool = key(
        "agent.docker_use_activated_venv",
        SWITCH,
        True,
        "Install into the virtual environment that the image has activated",
    )
    pip_cache: Path = key(
        "agent.docker_pip_cache", PATH, "~/.clearml/pip-cache", "The host's folder for the cache of pip in containers"
    )
    apt_cache: Path = key("agent.docker_apt_cache", PATH, "~/.clearml/apt-cache", "The same for downloads of apt")
    poetry_cache: Path = key("agent.docker_poetry_cache", PATH, "~/.clearml/poetry-cache", "The same for poetry")
    disable_ssh_mount: bool = key(
        "agent.disable_ssh_mount", SWITCH, False, "Do not give the host's ssh keys to containers"
    )
    container_name_format: str = key(
        "agent.docker_container_name_format",
        TEXT,
        None,
        "Name of containers, such as clearml-id-{task_id}-{rand_string:.8}",
    )
    container_name_format_fields: Mapping[str, str] = key(
        "agent.docker_container_name_format_fields", NAMES, {}, "Further fields for that name, taken from the task"
    )
    apply_environment_from_vault: bool = key(
        "agent.docker_apply_environment_from_vault",
        SWITCH,
        True,
        "Pass the variables of the task owner's vault to the container",
    )
    bootstrap: BootstrapSettings = group(BootstrapSettings)
