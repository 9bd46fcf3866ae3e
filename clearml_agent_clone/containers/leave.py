"""Which options a task may use without the leave of whoever runs the machine.

Anybody who may enqueue can write a task's arguments, and the engine runs as root: what reaches beyond the container
needs leave. An option that is in neither list below needs leave too, so that what engines add later is not forgotten.
"""

from __future__ import annotations

from collections.abc import Callable

from clearml_agent_clone.containers.arguments import Option

_FREE = frozenset(
    [
        "add-host",
        "arch",
        "blkio-weight",
        "blkio-weight-device",
        "cap-drop",
        "cpu-period",
        "cpu-quota",
        "cpu-shares",
        "cpus",
        "cpuset-cpus",
        "cpuset-mems",
        "device-read-bps",
        "device-read-iops",
        "device-write-bps",
        "device-write-iops",
        "dns",
        "dns-option",
        "dns-search",
        "domainname",
        "expose",
        "health-cmd",
        "health-interval",
        "health-retries",
        "health-start-interval",
        "health-start-period",
        "health-timeout",
        "hostname",
        "http-proxy",
        "kernel-memory",
        "memory",
        "memory-reservation",
        "memory-swap",
        "memory-swappiness",
        "network-alias",
        "no-healthcheck",
        "no-hostname",
        "no-hosts",
        "os",
        "pids-limit",
        "platform",
        "publish",
        "publish-all",
        "read-only",
        "read-only-tmpfs",
        "shm-size",
        "shm-size-systemd",
        "stop-signal",
        "stop-timeout",
        "tmpfs",
        "tz",
        "ulimit",
        "umask",
        "unsetenv",
        "unsetenv-all",
        "user",
        "variant",
        "workdir",
    ]
)
_AGENTS = {
    "attach": "the agent reads the console by itself",
    "cidfile": "the agent knows its containers by label",
    "conmon-pidfile": "the agent knows its containers by label",
    "detach": "the agent decides how containers run",
    "detach-keys": "no terminal is attached",
    "help": "it runs nothing",
    "init": "containers always have an init",
    "interactive": "the agent uses the standard input itself",
    "pidfile": "the agent knows its containers by label",
    "pull": "agent.docker_force_pull decides when images are pulled",
    "quiet": "the agent shows how a pull goes",
    "restart": "the agent decides how containers run",
    "rm": "the agent removes containers once it knows how they ended",
    "sig-proxy": "the agent stops containers by itself",
    "tty": "no terminal is attached",
}
AGENT_VARIABLES = frozenset(
    [
        "CLEARML_AGENT_HOST_IP",
        "CLEARML_AGENT_RUN_ID",
        "CLEARML_AGENT_SERVICE_TASK",
        "CLEARML_AUTH_TOKEN",
        "CLEARML_CONFIG_FILE",
        "CLEARML_DOCKER_IMAGE",
        "CLEARML_TASK_ID",
        "CLEARML_WORKER_ID",
        "TRAINS_CONFIG_FILE",
        "TRAINS_DOCKER_IMAGE",
        "TRAINS_TASK_ID",
        "TRAINS_WORKER_ID",
    ]
)
_GPU_VARIABLES = frozenset({"NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"})


def agents_business(option: Option) -> str:
    """Why the agent leaves ``option`` out whoever wrote it; nothing for one that it does not."""
    if option.name == "env" and option.text.partition("=")[0] in AGENT_VARIABLES:
        return "the agent sets this variable"
    if option.name == "label" and option.text.lower().startswith(("clearml-", "clearml.")):
        return "labels that begin with clearml- are the agent's"
    return _AGENTS.get(option.name, "")


def slots_business(option: Option) -> str:
    """Why ``option`` of a task is left out unless the policy is permissive: it would choose other GPUs or names."""
    if option.name == "gpus":
        return "the agent gives a task the GPUs of its worker"
    if option.name == "env" and option.text.partition("=")[0] in _GPU_VARIABLES:
        return "the agent gives a task the GPUs of its worker"
    return "agent.docker_container_name_format says how containers are named" if option.name == "name" else ""


def needs_leave(option: Option) -> str:
    """What ``option`` would reach beyond its container; nothing for one that any task may use.

    ``volume`` and ``mount`` have a module of their own.
    """
    if not option.known:
        return "it is not known what it does"
    if option.is_off or option.name in _FREE:
        return ""
    check = _BY_VALUE.get(option.name)
    if check is not None:
        return check(option.text)
    return _REASONS.get(option.name, "it can reach beyond the container")


def _one_of(reason: str, *harmless: str) -> Callable[[str], str]:
    return lambda value: "" if value in harmless else reason


def _oom_score(value: str) -> str:
    return "" if value.isdigit() else "it protects the task from the kernel at the cost of others"


def _group(value: str) -> str:
    return "it keeps the groups of the agent's user" if value == "keep-groups" else ""


def _environment(value: str) -> str:
    return "" if "=" in value else "it takes the value from this machine's environment"


_BY_VALUE: dict[str, Callable[[str], str]] = {
    "cgroupns": _one_of("it is a cgroup namespace of the host", "private"),
    "env": _environment,
    "group-add": _group,
    "ipc": _one_of("it is an IPC namespace outside the container", "private", "none", "shareable", ""),
    "label": lambda _: "",
    "network": _one_of("it is a network namespace or network of others", "bridge", "none", "default", "slirp4netns"),
    "oom-score-adj": _oom_score,
    "pid": _one_of("it is a process namespace outside the container", "private", ""),
    "security-opt": _one_of(
        "it can take away what confines the container",
        "no-new-privileges",
        "no-new-privileges:true",
        "no-new-privileges=true",
    ),
    "userns": _one_of("it changes which users of the host the container's are", ""),
    "uts": _one_of("it is a host name namespace of the host", "private", ""),
}
_REASONS = {
    "cap-add": "it gives capabilities",
    "cgroup-parent": "it leaves the limits that are set for the agent",
    "device": "it gives a device of the host",
    "device-cgroup-rule": "it gives devices of the host",
    "env-file": "it reads a file of the host",
    "env-host": "it hands over this machine's environment",
    "label-file": "it reads a file of the host",
    "link": "it joins another container and shows its environment",
    "oom-kill-disable": "it can make the whole machine stop",
    "pod": "it joins other containers",
    "privileged": "it gives the container the whole machine",
    "replace": "it removes another container",
    "rootfs": "it runs a folder of the host",
    "runtime": "it chooses the program that runs the container",
    "secret": "it hands over a secret of this machine",
    "sysctl": "it sets kernel parameters",
    "use-api-socket": "it hands over the engine, and with it the machine",
    "volumes-from": "it mounts what other containers have",
}
