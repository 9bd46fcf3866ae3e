"""Lending credentials to git for as long as it is needed, each only for the host that it is for."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import helper
from clearml_agent_clone.source.address import Address, Login
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.settings import GitCredential, Header, SourceSettings
from clearml_agent_clone.util.files import private_dir, write_atomic

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@attrs.frozen
class Grant:
    """One credential and where it may be sent; ``port`` None is any.

    ``urls`` are the beginnings of the addresses for which git is told to ask nobody else, as far as they are known.
    """

    schemes: tuple[str, ...]
    host: str
    port: int | None
    prefix: str
    user: str = attrs.field(repr=False)
    password: str = attrs.field(repr=False)
    header: Header = ""
    urls: tuple[str, ...] = ()


def grants_for(address: Address, login: Login, settings: SourceSettings) -> tuple[Grant, ...]:
    """What git may be told while it works for ``address`` and its submodules.

    A credential without a host goes to the task's repository only, never to another host that a submodule names.
    Over plain http nothing is sent, unless the repository's own address is http on that host, or the owner of the
    worker wrote ``http://`` before it.
    """
    found = []
    if login.user and address.is_web:
        # A user without password may be a token, or a name that a helper of the owner's has the password for.
        urls = (_url(address.scheme, address.host, address.port, ""),) if login.password else ()
        found.append(
            Grant((address.scheme,), address.host, address.real_port, "", login.user, login.password, urls=urls)
        )
    found += [_grant(credential, address) for credential in settings.credentials if credential.host or address.is_web]
    return tuple(found)


def _grant(credential: GitCredential, address: Address) -> Grant:
    host, port = credential.host or address.host, credential.port
    own = address.is_web and host.casefold() == address.host.casefold()
    if not credential.host:
        port = address.real_port
    scheme = credential.scheme or (address.scheme if own else "https")
    known_port = address.port if own and port is None else port
    return Grant(
        (scheme,),
        host,
        port,
        credential.prefix,
        credential.user or "git",
        credential.password,
        credential.header,
        (_url(scheme, host, known_port, credential.prefix),),
    )


def _url(scheme: str, host: str, port: int | None, prefix: str) -> str:
    return f"{scheme}://{host}{f':{port}' if port is not None else ''}{prefix}"


@contextlib.contextmanager
def lend(grants: tuple[Grant, ...], git: Git, folder: Path, settings: SourceSettings | None = None) -> Iterator[Git]:
    """A git that gets the credentials it asks for; the private files behind it are gone afterwards.

    Args:
        grants: what may be told to whom.
        git: the git to equip.
        folder: the run's own folder, in which a private one is made.
        settings: say which ssh hosts are known.

    Raises:
        UserError: code ``bad-git-token``; a token cannot be sent as a header.
    """
    hosts = settings is not None and (settings.accept_new_hosts or bool(settings.known_hosts))
    if not grants and not hosts:
        yield git
        return
    private = Path(tempfile.mkdtemp(prefix=".git-access-", dir=folder))  # mode 0700
    try:
        if settings is not None and hosts:
            git = git.with_ssh_options(_known_hosts(settings, private))
        yield git.with_config([*_helper(grants, private), *_headers(grants, private)] if grants else [])
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _known_hosts(settings: SourceSettings, private: Path) -> Iterator[str]:
    """Options of ssh. It writes new keys to the first file: one of our own, so that ``~/.ssh`` stays as it is."""
    pinned = private / "known_hosts"
    write_atomic(pinned, "".join(line.strip() + "\n" for line in settings.known_hosts), durable=False)
    files = [str(pinned)]
    if settings.accept_new_hosts:
        private_dir(settings.vcs_cache_path)
        files.insert(0, str((settings.vcs_cache_path / "known_hosts").absolute()))
        yield "StrictHostKeyChecking=accept-new"
    quoted = " ".join('"' + file.replace("%", "%%").replace('"', '\\"') + '"' for file in files)
    yield f"UserKnownHostsFile={quoted} ~/.ssh/known_hosts ~/.ssh/known_hosts2"


def _helper(grants: tuple[Grant, ...], private: Path) -> Iterator[tuple[str, str]]:
    secrets = private / "grants.json"
    asked = [grant for grant in grants if not grant.header]
    write_atomic(secrets, json.dumps([attrs.asdict(grant) for grant in asked]), durable=False)
    # git runs a helper through a shell; all words here are paths of our own, quoted.
    command = "!" + shlex.join([sys.executable, "-I", "-S", helper.__file__, str(secrets)])
    yield "credential.helper", command
    for grant in asked:
        for url in grant.urls:
            # The owner named a credential for this place: their other helpers are neither asked nor told to forget.
            yield f"credential.{url}.helper", ""
            yield f"credential.{url}.helper", command
            if grant.prefix:
                yield f"credential.{url}.useHttpPath", "true"


def _headers(grants: tuple[Grant, ...], private: Path) -> Iterator[tuple[str, str]]:
    """Tokens that are sent unasked: git wants them in its configuration, so they get a private file of it.

    git would send such a header to the place that a redirection names, too; hence it must not follow any.
    """
    lines = []
    for grant in grants:
        if grant.header:
            value = _header(grant)
            lines += [f'[http "{url}"]\n\textraHeader = "{value}"\n\tfollowRedirects = false\n' for url in grant.urls]
    if lines:
        config = private / "gitconfig"
        write_atomic(config, "".join(lines), durable=False)
        yield "include.path", str(config)


def _header(grant: Grant) -> str:
    if not _TOKEN.fullmatch(grant.password):
        raise UserError(
            f"the git password for {grant.host} is no token: it has characters that an HTTP header cannot carry",
            remedy="Paste the token again, or switch agent.git_use_ms_entra_token and agent.git_use_azure_pat off",
            code="bad-git-token",
        )
    if grant.header == "Bearer":
        return f"Authorization: Bearer {grant.password}"
    return "Authorization: Basic " + base64.b64encode(f":{grant.password}".encode()).decode()
