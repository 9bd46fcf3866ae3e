"""What the worker's owner decides about fetching code."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal as OneOf

import attrs

from clearml_agent_clone.config.settings_git import GitSettings
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.address import Address

Header = OneOf["", "Bearer", "Basic"]

_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
_HOST = re.compile(
    r"(?:(?P<scheme>[A-Za-z+]+)://)?(?:[^@/]*@)?(?P<host>\[[^\]]*\]|[^:/]+)(?::(?P<port>\d+))?(?P<prefix>/.*)?"
)

_FETCH_KEPT = re.compile(
    r"--(?:force|prune|verbose|quiet|no-progress|ipv4|ipv6|atomic|update-shallow|(?:no-)?show-forced-updates)"
    r"|-[fpvq46]|--(?:jobs=\d+|server-option=\S+)|-j\d+"
)
_DEPTH = re.compile(r"--depth=(\d+)")
_FILTER = re.compile(r"--filter=(\S+)")
_FILTER_SPEC = re.compile(r"blob:none|blob:limit=\d+[kmg]?|tree:\d+|object:type=\w+|combine:\S+")
_FETCH_IMPLIED = re.compile(
    r"--(?:all|depth=\d+|filter=\S+|(?:no-)?tags|(?:no-)?recurse-submodules|progress|no-auto-gc|no-auto-maintenance|prune-tags)(?:=.*)?|-[tnP]"
)


@attrs.frozen
class GitCredential:
    """User and password for one host, or for a part of it.

    Args:
        host: the only host that they are sent to; empty means the host of the task's repository, whichever it is.
        user: may be empty where the password is a token; git is then told ``git``.
        password: password or token.
        prefix: only for paths below this one, such as ``/group``; whole path segments are compared.
        port: only for this port; None for any.
        scheme: only over this transport; empty means https, or what the task's repository on that host has.
        header: the password is sent unasked, as ``Authorization: Bearer`` (a Microsoft Entra token) or ``Basic`` (a
            personal access token of Azure DevOps); else a credential helper gives it when the host asks.
    """

    host: str
    user: str = attrs.field(repr=False)
    password: str = attrs.field(repr=False)
    prefix: str = ""
    port: int | None = None
    scheme: str = ""
    header: Header = ""

    @classmethod
    def parse(cls, host: str, user: str, password: str, *, header: Header = "") -> GitCredential:
        """From ``host``, ``host:port``, ``host/path`` or ``https://host/path`` as people write it."""
        match = _HOST.fullmatch(host.strip())
        if match is None:
            return cls(host.strip(), user, password, header=header)
        port = int(match["port"]) if match["port"] else None
        scheme = (match["scheme"] or "").lower()
        scheme = scheme if scheme in {"https", "http"} else ""
        return cls(match["host"], user, password, (match["prefix"] or "").rstrip("/"), port, scheme, header)

    def is_for(self, address: Address) -> bool:
        """Whether this may be sent to ``address``. An ssh address is asked for what its https twin would get."""
        if self.host and self.host.casefold() != address.host.casefold():
            return False
        if self.scheme and address.is_web and self.scheme != address.scheme:
            return False
        if self.port is not None and address.is_web and self.port != address.real_port:
            return False
        path = "/" + address.path.lstrip("/")
        return not self.prefix or path == self.prefix or path.startswith(self.prefix + "/")


@attrs.frozen
class SourceSettings:
    """Settings of the source room.

    Args:
        vcs_cache_enabled: keep a mirror of each repository; without it every task clones.
        vcs_cache_path: folder of the mirrors.
        credentials: the first that is for an address is used.
        hg_credentials: likewise, for Mercurial.
        fetch_args: further arguments for ``git fetch``.
        clone_depth: fetch only so many commits of history; 0 is all.
        clone_filter: of partial clones, such as ``blob:none``; empty for whole ones.
        clone_on_pull_fail: clone again when a fetch into a mirror fails for a reason that lies in the mirror.
        translate_ssh: use https for ssh addresses that there are credentials for.
        translate_scheme: the scheme for that.
        force_ssh: use ssh for web addresses.
        force_ssh_host: only for this host, when not empty.
        force_ssh_user, force_ssh_port: login name and port of ssh addresses; 0 is ssh's own.
        accept_new_hosts: trust the first key that an unknown ssh host shows, and keep it.
        known_hosts: lines of a ``known_hosts`` file that are trusted beside the user's own.
        allow_local: whether repositories may be paths of this machine.
        lfs_required: refuse a tree with large files where git-lfs is not installed.
        clone_verbose: show more of what git does.
        force_code_dir: run the code in this folder; nothing is fetched.
        force_exec_script: start this script, ``file`` or ``folder:file``, whatever the task says.
        force_task_init: have Python scripts call ``Task.init``.
        attempts: how often a transfer is tried when the network fails in its midst.
        environ: the environment that git starts from.
    """

    vcs_cache_enabled: bool = True
    vcs_cache_path: Path = attrs.Factory(lambda: Path.home() / ".clearml" / "vcs-cache")
    credentials: tuple[GitCredential, ...] = attrs.field(default=(), repr=False)
    hg_credentials: tuple[GitCredential, ...] = attrs.field(default=(), repr=False)
    fetch_args: tuple[str, ...] = ()
    clone_depth: int = 0
    clone_filter: str = ""
    clone_on_pull_fail: bool = False
    translate_ssh: bool = True
    translate_scheme: str = "https"
    force_ssh: bool = False
    force_ssh_host: str = ""
    force_ssh_user: str = "git"
    force_ssh_port: int = 0
    accept_new_hosts: bool = False
    known_hosts: tuple[str, ...] = ()
    allow_local: bool = False
    lfs_required: bool = False
    clone_verbose: bool = False
    force_code_dir: str = ""
    force_exec_script: str = ""
    force_task_init: bool = False
    attempts: int = 3
    environ: Mapping[str, str] = attrs.field(factory=lambda: dict(os.environ), repr=False)

    @classmethod
    def from_settings(
        cls, git: GitSettings, environ: Mapping[str, str], *, allow_local: bool = False
    ) -> SourceSettings:
        """From the configuration and the ``CLEARML_AGENT_*`` variables that are no configuration keys.

        ``allow_local`` allows paths of this machine whatever the configuration says (``execute``).
        """
        scheme = environ.get("CLEARML_AGENT_SSH_URL_REPLACEMENT_SCHEME") or git.translate_ssl_replacement_scheme
        return cls(
            vcs_cache_enabled=git.cache.enabled,
            vcs_cache_path=git.cache.path,
            credentials=_credentials(git),
            hg_credentials=tuple(
                GitCredential.parse(host, user, password)
                for host, user, password in (
                    *((entry.host, entry.user, entry.password) for entry in git.hg_extra_credentials),
                    (git.hg_host, git.hg_user, git.hg_password),
                )
                if password
            ),
            fetch_args=git.fetch_args,
            clone_depth=max(git.clone_depth or _whole(_DEPTH, git.fetch_args), 0),
            clone_filter=_filter(git),
            clone_on_pull_fail=git.cache.clone_on_pull_fail,
            translate_ssh=git.translate_ssh,
            translate_scheme=scheme if scheme in {"https", "http"} else "https",
            force_ssh=git.force_ssh_protocol,
            force_ssh_host=git.host,
            force_ssh_user=git.force_ssh_user or "git",
            force_ssh_port=git.force_ssh_port,
            accept_new_hosts=git.host_keys == "accept-new",
            known_hosts=git.known_hosts,
            allow_local=allow_local or git.allow_local,
            lfs_required=git.lfs_required,
            clone_verbose=_switch(environ, "CLEARML_AGENT_GIT_CLONE_VERBOSE"),
            force_code_dir=environ.get("CLEARML_AGENT_FORCE_CODE_DIR", ""),
            force_exec_script=environ.get("CLEARML_AGENT_FORCE_EXEC_SCRIPT", ""),
            force_task_init=_switch(environ, "CLEARML_AGENT_FORCE_TASK_INIT"),
            environ=dict(environ),
        )

    @property
    def holds_less(self) -> bool:
        """Whether mirrors are shallow or partial."""
        return bool(self.clone_depth or self.clone_filter)

    def usable_fetch_args(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """``fetch_args`` apart: those that are passed to git, and those that have no place here.

        What the mirror does anyway (all branches, tags, submodules later) belongs to neither. Options that run
        programs or change what a mirror holds (``--upload-pack``, ``--refmap``) are of the second kind.
        """
        kept, refused = [], []
        arguments = iter(self.fetch_args)
        for argument in arguments:
            if argument in {"-j", "--jobs"}:
                kept += [argument, *(value for value in (next(arguments, ""),) if value.isdigit())]
            elif _FETCH_KEPT.fullmatch(argument):
                kept.append(argument)
            elif not _FETCH_IMPLIED.fullmatch(argument):
                refused.append(argument)
        return tuple(kept), tuple(refused)

    def credential_for(self, address: Address) -> GitCredential | None:
        """The first credential that may be sent to ``address``."""
        return next((credential for credential in self.credentials if credential.is_for(address)), None)


def _credentials(git: GitSettings) -> tuple[GitCredential, ...]:
    header: Header = "Bearer" if git.use_ms_entra_token else "Basic" if git.use_azure_pat else ""
    entries = [(entry.host, entry.user, entry.password) for entry in git.extra_credentials]
    entries.append((git.host, git.user, git.password))
    return tuple(
        GitCredential.parse(host, user, password, header=header) for host, user, password in entries if password
    )


def _whole(pattern: re.Pattern[str], arguments: tuple[str, ...]) -> int:
    return next((int(match[1]) for word in arguments if (match := pattern.fullmatch(word))), 0)


def _filter(git: GitSettings) -> str:
    """The filter by its own key, or as people put it among the arguments of ``git fetch``."""
    among = (match[1] for word in git.fetch_args if (match := _FILTER.fullmatch(word)))
    chosen = git.clone_filter or next(among, "")
    if chosen and not _FILTER_SPEC.fullmatch(chosen):
        raise UserError(
            f'agent.git_clone_filter: "{chosen}" is no filter',
            remedy="Write blob:none, blob:limit=1m or tree:0",
            code="bad-setting",
        )
    return chosen


def _switch(environ: Mapping[str, str], name: str) -> bool:
    return environ.get(name, "").strip().lower() in _TRUE
