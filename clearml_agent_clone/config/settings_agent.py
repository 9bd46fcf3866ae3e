"""The keys of the ``agent`` section that belong to no larger subject."""
# ruff: noqa: RUF009 - key() makes an attrs field, it is no default that instances would share

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.config.kinds import (
    MAYBE_NUMBER,
    MAYBE_PATH,
    MAYBE_SWITCH,
    NAMES,
    PATH,
    SECONDS,
    SWITCH,
    TEXT,
    WHOLE,
    WORDS,
    choice,
)
from clearml_agent_clone.config.schema import Section, group, key
from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.config.settings_git import GitSettings, VcsCacheSettings
from clearml_agent_clone.config.settings_packages import (
    PackageManagerSettings,
    PipDownloadCacheSettings,
    VenvsCacheSettings,
)

_HIDDEN = ["^sanitize_config_printout$", "secret", "pass", "token", "account_key", "contents"]


@attrs.frozen(eq=False, repr=False)
class ResourceMonitoringSettings(Section):
    """What a worker reports about its machine."""

    cluster_report_interval_sec: float = key(
        "agent.resource_monitoring.cluster_report_interval_sec", SECONDS, 60, "Pause between reports about the cluster"
    )
    default_gpu_utilization: float | None = key(
        "agent.resource_monitoring.default_gpu_utilization",
        MAYBE_NUMBER,
        100,
        "Percentage to report for a GPU whose load cannot be read; null reports none",
    )
    disk_use_path: Path | None = key(
        "agent.resource_monitoring.disk_use_path",
        MAYBE_PATH,
        None,
        "Folder whose disk is measured; the home directory when absent",
    )
    dashboard_cluster_name: str = key(
        "agent.resource_dashboard.default_cluster_name",
        TEXT,
        "onprem",
        "Cluster that workers with a short id are shown under",
    )


@attrs.frozen(eq=False, repr=False)
class PrintoutSettings(Section):
    """What ``clearml-agent config`` hides, beside the values that the agent knows to be secret. Regular expressions."""

    hide_secrets: tuple[str, ...] = key(
        "agent.sanitize_config_printout.hide_secrets", WORDS, _HIDDEN, "Names of keys whose values are masked"
    )
    hide_secrets_recursive: tuple[str, ...] = key(
        "agent.sanitize_config_printout.hide_secrets_recursive",
        WORDS,
        ["^environment$"],
        "Names of sections in which every value is masked",
    )
    dont_hide_secrets: tuple[str, ...] = key(
        "agent.sanitize_config_printout.dont_hide_secrets",
        WORDS,
        ["^enable_git_ask_pass$"],
        "Names of keys that are shown all the same",
    )
    docker_commands: tuple[str, ...] = key(
        "agent.sanitize_config_printout.docker_commands",
        WORDS,
        ["^extra_docker_arguments$"],
        "Names of keys with docker arguments, whose secret -e values are masked",
    )
    urls: tuple[str, ...] = key(
        "agent.sanitize_config_printout.urls",
        WORDS,
        ["^extra_index_url$"],
        "Names of keys with URLs, whose passwords are masked",
    )


@attrs.frozen(eq=False, repr=False)
class SlurmSettings(Section):
    """How tasks are handed to Slurm or PBS."""

    use_pbs: bool = key("agent.slurm.use_pbs", SWITCH, False, "Hand tasks to PBS in place of Slurm")
    batch_binary: str = key("agent.slurm.binaries.batch_binary", TEXT, "sbatch", "Command that submits a job")
    run_binary: str = key("agent.slurm.binaries.run_binary", TEXT, "srun", "Command that starts a step of a job")
    monitor_binary: str = key(
        "agent.slurm.binaries.monitor_binary", TEXT, "squeue -u USER", "Command that lists the jobs, with its arguments"
    )
    user_map: Mapping[str, str] = key(
        "agent.slurm.user_map",
        NAMES,
        {},
        "ClearML user id to Linux user that jobs are submitted as; the entry default holds for all others",
    )


@attrs.frozen(eq=False, repr=False)
class AgentSettings(Section):
    """How this worker behaves. Durations are seconds."""

    worker_id: str = key("agent.worker_id", TEXT, "", "Full id of this worker; made from worker_name when empty")
    worker_name: str = key("agent.worker_name", TEXT, "", "Beginning of the worker's id; the host name when empty")
    uptime: tuple[str, ...] = key("agent.uptime", WORDS, None, 'Hours in which tasks are taken, such as "8-17 MON-FRI"')
    downtime: tuple[str, ...] = key("agent.downtime", WORDS, None, "Hours in which no tasks are taken")
    reload_config: bool = key(
        "agent.reload_config", SWITCH, False, "Read the configuration files again when they change"
    )
    crash_on_exception: bool = key(
        "agent.crash_on_exception", SWITCH, False, "End the daemon at an unexpected error in place of going on"
    )
    debug: bool = key("agent.debug", SWITCH, False, "Say more about what is done")
    state_dir: Path = key(
        "agent.state_dir", PATH, "~/.clearml/agent", "Where the agent keeps what it must remember", own=True
    )
    abort_grace_sec: float = key(
        "agent.abort_grace_sec", SECONDS, 30, "Time that an aborted task has to end before it is killed", own=True
    )
    abort_signal: str = key(
        "agent.abort_signal",
        choice("sigterm", "sigint", "sighup", "sigquit", "sigusr1", "sigusr2"),
        "sigterm",
        "Signal that tells a task to end; abort_grace_sec later comes SIGKILL",
        own=True,
    )
    max_task_seconds: float = key(
        "agent.max_task_seconds",
        SECONDS,
        0,
        "Longest time that a task may run before it is ended; 0 is no limit",
        own=True,
    )
    on_runner_loss: str = key(
        "agent.on_runner_loss",
        choice("adopt", "end"),
        "adopt",
        "A running task whose runner died is watched by a new runner (adopt), or ended and failed (end)",
        own=True,
    )
    on_node_loss: str = key(
        "agent.on_node_loss",
        choice("fail", "requeue"),
        "fail",
        "What becomes of a task that ran when the machine went down",
        own=True,
    )
    on_shutdown: str = key(
        "agent.on_shutdown",
        choice("stop", "requeue", "fail"),
        "stop",
        "What becomes of a task that the agent ends because it is stopped itself",
        own=True,
    )
    on_start_failure: str = key(
        "agent.on_start_failure",
        choice("requeue", "fail"),
        "requeue",
        "What becomes of a task that this agent took and cannot start: back to the head of its queue, or failed",
        own=True,
    )
    metrics_port: int = key(
        "agent.metrics_port", WHOLE, 0, "Port for /metrics and /healthz on this machine; 0 opens none", own=True
    )
    metrics_host: str = key(
        "agent.metrics_host",
        TEXT,
        "127.0.0.1",
        "Address that metrics_port is opened at; 0.0.0.0 lets other machines read them",
        own=True,
    )
    log_format: str = key(
        "agent.log_format", choice("text", "json"), "text", "How the lines of the daemon's log are written", own=True
    )
    log_max_bytes: int = key(
        "agent.log_max_bytes",
        WHOLE,
        10_485_760,
        "Size at which a new file of the daemon's log is begun; 0 lets it grow",
        own=True,
    )
    log_backups: int = key("agent.log_backups", WHOLE, 5, "How many old files of the daemon's log are kept", own=True)
    abort_callback_max_timeout: float = key(
        "agent.abort_callback_max_timeout", SECONDS, 1800, "Longest time that a task's abort callback may take"
    )
    task_ping_interval: float = key(
        "agent.task_ping_interval_sec", SECONDS, 60, "Pause between signs of life for a running task; 0 sends none"
    )
    suppress_carriage_return: bool = key(
        "agent.suppress_carriage_return",
        SWITCH,
        True,
        "Of a line that rewrites itself, such as a progress bar, show the last state",
    )
    console_max_bytes: int = key(
        "agent.console_max_bytes",
        WHOLE,
        4_294_967_296,
        "Disk space for console that waits for the server, per task, and never more than half of what is free; the "
        "middle of what is more is dropped. 0 for half of what is free",
        own=True,
    )
    dynamic_gpus_reservation_timeout_sec: float = key(
        "agent.dynamic_gpus_reservation_timeout_sec",
        SECONDS,
        600,
        "How long a GPU stays reserved for a task that does not start",
    )
    enable_task_env: bool = key(
        "agent.enable_task_env", SWITCH, False, "Set the variables of the task's Environment section for its process"
    )
    apply_environment: bool = key(
        "agent.apply_environment", SWITCH, True, "Set the variables of the environment section of this file"
    )
    apply_files: bool = key("agent.apply_files", SWITCH, True, "Write the files of the files section of this file")
    python_binary: str = key(
        "agent.python_binary", TEXT, "", "Interpreter for tasks' environments; the one that a task asks for when empty"
    )
    default_python: str = key(
        "agent.default_python", TEXT, "", "Python version for tasks that ask for none; that of the agent when empty"
    )
    ignore_requested_python_version: bool = key(
        "agent.ignore_requested_python_version", SWITCH, False, "Use the default interpreter whatever a task asks for"
    )
    python_install: bool = key(
        "agent.python_install",
        SWITCH,
        False,
        "Let uv install an interpreter that a task asks for and this machine lacks",
        own=True,
    )
    cuda_version: str = key("agent.cuda_version", TEXT, "", "CUDA version in place of the detected one, such as 12.4")
    cudnn_version: str = key("agent.cudnn_version", TEXT, "", "cuDNN version in place of the detected one")
    cpu_only: bool | None = key("agent.cpu_only", MAYBE_SWITCH, None, "Choose packages for a machine without GPU")
    standalone_mode: bool = key(
        "agent.standalone_mode", SWITCH, False, "Install nothing and fetch nothing; set by --standalone-mode"
    )
    custom_build_script: str = key(
        "agent.custom_build_script", TEXT, "", "Program that builds the environment in place of the agent"
    )
    venvs_dir: Path = key(
        "agent.venvs_dir", PATH, "~/.clearml/venvs-builds", "Where environments and checkouts of running tasks are"
    )
    venvs_cache: VenvsCacheSettings = group(VenvsCacheSettings)
    pip_download_cache: PipDownloadCacheSettings = group(PipDownloadCacheSettings)
    package_manager: PackageManagerSettings = group(PackageManagerSettings)
    git: GitSettings = group(GitSettings)
    docker: DockerSettings = group(DockerSettings)
    resource_monitoring: ResourceMonitoringSettings = group(ResourceMonitoringSettings)
    printout: PrintoutSettings = group(PrintoutSettings)
    slurm: SlurmSettings = group(SlurmSettings)

    @property
    def vcs_cache(self) -> VcsCacheSettings:
        """The clone cache, which stands with the other git settings."""
        return self.git.cache
