"""The options of ``docker run`` and ``podman run``: canonical names, short forms, and which of them take a value.

Without this table an argument list cannot be read: whether ``x`` in ``--foo x`` is a value or the image depends on it.
"""

from __future__ import annotations

import enum
from functools import cache

import attrs


class Engine(enum.Enum):
    """The program that runs containers."""

    DOCKER = "docker"
    PODMAN = "podman"


class Arity(enum.Enum):
    """What follows an option, and whether a second one adds to the first or replaces it."""

    SWITCH = "switch"
    SINGLE = "single"
    LIST = "list"


@attrs.frozen
class Known:
    """An option of the engine: ``name`` without dashes, the letter of its short form (or nothing)."""

    name: str
    arity: Arity
    short: str = ""


_SWITCHES = """
    detach:d disable-content-trust help init interactive:i no-healthcheck oom-kill-disable privileged publish-all:P
    quiet:q read-only rm sig-proxy tty:t use-api-socket
"""
_SINGLES = """
    blkio-weight cgroup-parent cgroupns cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime
    cpu-shares:c cpus cpuset-cpus cpuset-mems detach-keys domainname entrypoint gpus health-cmd health-interval
    health-retries health-start-interval health-start-period health-timeout hostname:h io-maxbandwidth io-maxiops ip ip6
    ipc isolation kernel-memory log-driver mac-address memory:m memory-reservation memory-swap memory-swappiness name
    oom-score-adj pid pids-limit platform pull restart runtime shm-size stop-signal stop-timeout user:u userns uts
    volume-driver workdir:w
"""
_LISTS = """
    add-host annotation attach:a blkio-weight-device cap-add cap-drop device device-cgroup-rule device-read-bps
    device-read-iops device-write-bps device-write-iops dns dns-option dns-search env:e env-file expose group-add label:l
    label-file link link-local-ip log-opt mount network network-alias publish:p security-opt storage-opt sysctl tmpfs
    ulimit volume:v volumes-from
"""
_PODMAN_SWITCHES = """
    env-host http-proxy no-hostname no-hosts passwd read-only-tmpfs replace rmi rootfs tls-verify unsetenv-all
"""
_PODMAN_SINGLES = """
    arch authfile cert-dir cgroups conmon-pidfile creds group-entry health-log-destination health-max-log-count
    health-max-log-size health-on-failure health-startup-cmd health-startup-interval health-startup-retries
    health-startup-success health-startup-timeout hosts-file image-volume init-ctr init-path intel-rdt-closid os
    passwd-entry personality pidfile pod pod-id-file preserve-fd preserve-fds rdt-class retry retry-delay sdnotify
    seccomp-policy shm-size-systemd subgidname subuidname systemd timeout tz umask variant
"""
_PODMAN_LISTS = """
    cgroup-conf chrootdirs decryption-key env-merge gidmap hooks-dir hostuser requires secret uidmap unsetenv
"""
_ALIASES = {"net": "network", "net-alias": "network-alias", "dns-opt": "dns-option"}
_PODMAN_ALIASES = {
    "healthcheck-command": "health-cmd",
    "healthcheck-interval": "health-interval",
    "healthcheck-retries": "health-retries",
    "healthcheck-start-period": "health-start-period",
    "healthcheck-timeout": "health-timeout",
    "override-arch": "arch",
    "override-os": "os",
    "override-variant": "variant",
}


@cache
def by_long(engine: Engine) -> dict[str, Known]:
    """Every option of ``engine`` by each of its long names."""
    parts = [(_SWITCHES, Arity.SWITCH), (_SINGLES, Arity.SINGLE), (_LISTS, Arity.LIST)]
    aliases = dict(_ALIASES)
    if engine is Engine.PODMAN:
        parts += [(_PODMAN_SWITCHES, Arity.SWITCH), (_PODMAN_SINGLES, Arity.SINGLE), (_PODMAN_LISTS, Arity.LIST)]
        aliases |= _PODMAN_ALIASES
    found = {}
    for text, arity in parts:
        for word in text.split():
            name, _, short = word.partition(":")
            found[name] = Known(name, arity, short)
    return found | {alias: found[name] for alias, name in aliases.items()}


@cache
def by_short(engine: Engine) -> dict[str, Known]:
    """The same by their one letter."""
    return {known.short: known for known in by_long(engine).values() if known.short}


def canonical(text: str) -> str:
    """The one name of an option however it is written: ``-v``, ``v``, ``--net`` → ``volume``, ``network``.

    For names in the configuration, which are written with and without dashes; a name that is not in the table stays.
    """
    name = text.strip().lstrip("-").partition("=")[0]
    long, short = by_long(Engine.PODMAN), by_short(Engine.PODMAN)
    known = long.get(name) or short.get(name)
    return known.name if known else name


def spellings(name: str) -> tuple[str, ...]:
    """Every way to write the option ``name``, with dashes, the canonical one first."""
    long = by_long(Engine.PODMAN)
    found = [f"--{name}"]
    found += [f"--{alias}" for alias, known in long.items() if known.name == name and alias != name]
    known = long.get(name)
    return (*found, f"-{known.short}") if known and known.short else tuple(found)
