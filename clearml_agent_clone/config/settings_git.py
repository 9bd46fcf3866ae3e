"""The keys that say how code is fetched."""
# ruff: noqa: RUF009 - key() makes an attrs field, it is no default that instances would share

from __future__ import annotations

from pathlib import Path

import attrs

from clearml_agent_clone.config.kinds import CREDENTIALS, PATH, SWITCH, TEXT, WHOLE, WORDS, Credential, choice
from clearml_agent_clone.config.schema import Section, group, key


@attrs.frozen(eq=False, repr=False)
class VcsCacheSettings(Section):
    """The folder of bare clones that checkouts are made from."""

    enabled: bool = key("agent.vcs_cache.enabled", SWITCH, True, "Keep clones of repositories and fetch into them")
    path: Path = key("agent.vcs_cache.path", PATH, "~/.clearml/vcs-cache", "Where clones are kept")
    clone_on_pull_fail: bool = key(
        "agent.vcs_cache.clone_on_pull_fail", SWITCH, False, "Clone again when fetching into a kept clone fails"
    )


@attrs.frozen(eq=False, repr=False)
class GitSettings(Section):
    """Credentials and habits of git, and the credentials of Mercurial."""

    user: str = key("agent.git_user", TEXT, "", "User name for repositories over https")
    password: str = key(
        "agent.git_pass", TEXT, "", "Password or personal access token for repositories over https", secret=True
    )
    host: str = key(
        "agent.git_host", TEXT, "", "The only host that git_user and git_pass are sent to; empty for every host"
    )
    host_match_prefix: bool = key(
        "agent.git_host_match_prefix", SWITCH, False, "Compare hosts of credentials with the beginning of the whole URL"
    )
    extra_credentials: tuple[Credential, ...] = key(
        "agent.git.extra_credentials",
        CREDENTIALS,
        [],
        "Further credentials by host; the first that matches is used before git_user and git_pass",
        secret=True,
    )
    use_ms_entra_token: bool = key(
        "agent.git_use_ms_entra_token",
        SWITCH,
        False,
        "Send git_pass as bearer token, as Azure DevOps wants a Microsoft Entra token",
    )
    use_azure_pat: bool = key(
        "agent.git_use_azure_pat", SWITCH, False, "Send git_pass as an Azure DevOps personal access token"
    )
    force_ssh_protocol: bool = key("agent.force_git_ssh_protocol", SWITCH, False, "Turn https remotes into ssh remotes")
    force_ssh_port: int = key(
        "agent.force_git_ssh_port", WHOLE, 0, "Port of remotes that were turned into ssh; 0 for the usual one"
    )
    force_ssh_user: str = key("agent.force_git_ssh_user", TEXT, "git", "User of remotes that were turned into ssh")
    fetch_args: tuple[str, ...] = key(
        "agent.git_fetch_args", WORDS, ["--all", "--tags", "--recurse-submodules"], "Arguments of git fetch"
    )
    enable_ask_pass: bool = key(
        "agent.enable_git_ask_pass", SWITCH, True, "Hand credentials to git through GIT_ASKPASS"
    )
    translate_ssh: bool = key(
        "agent.translate_ssh", SWITCH, True, "Turn ssh remotes into https when there is a user and password for them"
    )
    translate_ssl_replacement_scheme: str = key(
        "agent.translate_ssl_replacement_scheme", TEXT, "https", "Scheme of remotes that were turned from ssh"
    )
    force_root_python_path: bool = key(
        "agent.force_git_root_python_path",
        SWITCH,
        False,
        "Put the root of the repository on PYTHONPATH in place of the working directory",
    )
    allow_local: bool = key(
        "agent.git_allow_local",
        SWITCH,
        False,
        "Let tasks of a queue name repositories by file:// URL or path; execute always allows it",
        own=True,
    )
    host_keys: str = key(
        "agent.git_host_keys",
        choice("strict", "accept-new"),
        "strict",
        "Keys of ssh hosts: strict (known ones only) or accept-new (a host's first key is kept and trusted from then on)",
        own=True,
    )
    known_hosts: tuple[str, ...] = key(
        "agent.git_known_hosts",
        WORDS,
        [],
        "Keys of ssh hosts that are trusted beside those of ~/.ssh/known_hosts, as lines of such a file",
        own=True,
    )
    clone_depth: int = key(
        "agent.git_clone_depth", WHOLE, 0, "Fetch only that many commits of history; 0 for all of it", own=True
    )
    clone_filter: str = key(
        "agent.git_clone_filter",
        TEXT,
        "",
        "Filter of a partial clone, such as blob:none: old versions of files are fetched when they are needed",
        own=True,
    )
    lfs_required: bool = key(
        "agent.git_lfs_required",
        SWITCH,
        False,
        "Fail a task that has files of git-lfs where git-lfs is not installed; else it gets pointers and a warning",
        own=True,
    )
    hg_user: str = key("agent.hg_user", TEXT, "", "User name for Mercurial repositories over https")
    hg_password: str = key("agent.hg_pass", TEXT, "", "Password for Mercurial repositories over https", secret=True)
    hg_host: str = key(
        "agent.hg_host", TEXT, "", "The only host that hg_user and hg_pass are sent to; empty for the repository's own"
    )
    hg_extra_credentials: tuple[Credential, ...] = key(
        "agent.hg.extra_credentials",
        CREDENTIALS,
        [],
        "Further credentials for Mercurial by host; the first that matches is used before hg_user and hg_pass",
        secret=True,
    )
    cache: VcsCacheSettings = group(VcsCacheSettings)
