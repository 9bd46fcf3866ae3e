"""What of the host a container sees without asking: caches, ssh keys, the ssh agent's socket.

Decided from given facts; making the folders and the private copy of the keys is the launcher's work.
"""

from __future__ import annotations

import enum
import posixpath
from collections.abc import Collection

import attrs

from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.errors import UserError


class Purpose(enum.Enum):
    """What a mount is for."""

    SSH = "ssh keys"
    SSH_AGENT = "ssh agent"
    GIT_CONFIG = "git configuration"
    APT = "apt cache"
    PIP = "pip cache"
    POETRY = "poetry cache"
    PIP_DOWNLOAD = "downloaded packages"
    SDK = "SDK cache"
    VCS = "clones of repositories"
    VENVS = "environments"


@attrs.frozen
class Mount:
    """One folder or file of the host and where the container sees it."""

    host: str
    inside: str
    read_only: bool = False
    purpose: Purpose | None = None

    @property
    def option(self) -> Option:
        """As ``--mount``, whose grammar is not confused by colons.

        Raises:
            UserError: a path holds a quotation mark or a line break.
        """
        for path in (self.host, self.inside):
            if '"' in path or "\n" in path or not path.startswith("/"):
                raise UserError(f'"{path}" cannot be mounted', remedy="Use a full path without quotes", code="mount")
        fields = [
            "type=bind",
            f"source={self.host}",
            f"target={self.inside}",
            *(["readonly"] if self.read_only else []),
        ]
        value = ",".join(f'"{field}"' if "," in field else field for field in fields)
        return Option("mount", value, written="--mount")


@attrs.frozen
class HostFacts:
    """What the decision depends on beside the configuration.

    Args:
        existing: which of the paths asked for exist (``~/.ssh``, ``~/.gitconfig``); folders of caches are made.
        home: home of the agent's user.
        ssh_auth_sock: path of the ssh agent's socket, or nothing.
        ssh_copy: where the private copy of the keys is to be made.
        slot: number of this agent among those of the machine; apt's cache cannot be shared.
        poetry: the task needs poetry.
        sdk_cache, pip_download, vcs, venvs: folders of the configuration outside ``agent.docker_*``; nothing for none.
    """

    existing: Collection[str] = ()
    home: str = "/root"
    ssh_auth_sock: str = ""
    ssh_copy: str = ""
    slot: int = 0
    poetry: bool = False
    sdk_cache: str = ""
    pip_download: str = ""
    vcs: str = ""
    venvs: str = ""


@attrs.frozen
class MountPlan:
    """The mounts in order; ``copy_ssh_from`` is the folder to copy to ``HostFacts.ssh_copy`` first, or nothing."""

    mounts: tuple[Mount, ...] = ()
    copy_ssh_from: str = ""
    remarks: tuple[str, ...] = ()


WANTED = frozenset(Purpose) - {Purpose.VCS, Purpose.VENVS}
"""The code is checked out on the host and environments come from the store: one task must not write what another runs."""


def plan_mounts(docker: DockerSettings, facts: HostFacts, wanted: Collection[Purpose] = WANTED) -> MountPlan:
    """What to mount for every task."""
    ssh, copy_from = _ssh(docker, facts)
    inside = docker.mounts
    apt = f"{docker.apt_cache}.{facts.slot}" if facts.slot else str(docker.apt_cache)
    caches = [
        Mount(apt, inside.apt_cache, purpose=Purpose.APT),
        Mount(str(docker.pip_cache), inside.pip_cache, purpose=Purpose.PIP),
        Mount(str(docker.poetry_cache) if facts.poetry else "", inside.poetry_cache, purpose=Purpose.POETRY),
        Mount(facts.pip_download, inside.pip_download, purpose=Purpose.PIP_DOWNLOAD),
        Mount(facts.sdk_cache, inside.sdk_cache, purpose=Purpose.SDK),
        Mount(facts.vcs, inside.vcs_cache, purpose=Purpose.VCS),
        Mount(facts.venvs, inside.venvs_cache, purpose=Purpose.VENVS),
    ]
    mounts = tuple(mount for mount in (*ssh, *caches) if mount.host and mount.purpose in wanted)
    return MountPlan(mounts, copy_from)


def _ssh(docker: DockerSettings, facts: HostFacts) -> tuple[list[Mount], str]:
    """The agent's socket where there is one: keys that are not copied cannot be taken away."""
    git_config = posixpath.join(facts.home, ".gitconfig")
    folder = docker.mounts.ssh_ro_folder
    git = [Mount(git_config, f"{folder}.git/.gitconfig", True, Purpose.GIT_CONFIG)]
    git = git if git_config in facts.existing else []
    if docker.disable_ssh_mount:
        return git, ""
    if facts.ssh_auth_sock:
        return [Mount(facts.ssh_auth_sock, facts.ssh_auth_sock, purpose=Purpose.SSH_AGENT), *git], ""
    keys = posixpath.join(facts.home, ".ssh")
    if keys not in facts.existing or not facts.ssh_copy:
        return git, ""
    return [Mount(facts.ssh_copy, folder, True, Purpose.SSH), *git], keys


@attrs.frozen
class HostMount:
    """CLEARML_AGENT_K8S_HOST_MOUNT: the agent is in a container itself, ``inside`` is the host's ``host`` there.

    Containers that it starts stand beside it, and what is mounted into them must be named as the host sees it.
    """

    host: str
    inside: str

    @classmethod
    def parse(cls, text: str) -> HostMount:
        """``host:inside``.

        Raises:
            UserError: it is not two full paths.
        """
        host, _, inside = text.strip().partition(":")
        if not (host.startswith("/") and inside.startswith("/")) or ":" in inside:
            raise UserError(
                f'environment variable CLEARML_AGENT_K8S_HOST_MOUNT: "{text}" is not host folder:folder in here',
                remedy="Write it as /opt/clearml/agent:/root/.clearml",
                code="bad-variable",
            )
        return cls(posixpath.normpath(host), posixpath.normpath(inside))

    def translate(self, path: str) -> str | None:
        """``path`` of this container as the host has it; None for one that the host does not."""
        path = posixpath.normpath(path)
        if path == self.inside:
            return self.host
        below = self.inside.rstrip("/") + "/"
        return posixpath.join(self.host, path[len(below) :]) if path.startswith(below) else None


def for_siblings(plan: MountPlan, host_mount: HostMount) -> MountPlan:
    """``plan`` with paths of the host; what the host does not have is left out, with a remark for each."""
    kept, remarks = [], list(plan.remarks)
    for mount in plan.mounts:
        path = host_mount.translate(mount.host)
        if path is not None:
            kept.append(attrs.evolve(mount, host=path))
        else:
            remarks.append(f"Warning: K8S mount missing, ignoring cached folder {mount.host}")
    return MountPlan(tuple(kept), plan.copy_ssh_from, tuple(remarks))
