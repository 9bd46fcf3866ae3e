"""Lending credentials to git for as long as it is needed, each only for the host that it is for."""

from __future__ import annotations

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
from clearml_agent_clone.source import askpass
from clearml_agent_clone.source.address import Address, Login
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.settings import GitCredential, SourceSettings
from clearml_agent_clone.util.files import write_atomic

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")


@attrs.frozen
class Grant:
    """One credential and where it may be sent."""

    schemes: tuple[str, ...]
    host: str
    port: int | None
    prefix: str
    user: str = attrs.field(repr=False)
    password: str = attrs.field(repr=False)
    bearer: bool = False
    own_helpers_first: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        """The beginnings of the URLs that it is for, as git's configuration wants them."""
        port = f":{self.port}" if self.port is not None else ""
        return tuple(f"{scheme}://{self.host}{port}{self.prefix}" for scheme in self.schemes)


def grants_for(address: Address, login: Login, settings: SourceSettings) -> tuple[Grant, ...]:
    """What git may be told while it works for ``address`` and its submodules.

    A credential without a host goes to the task's repository only, never to another host that a submodule names.
    Over plain http nothing is sent unless the repository's own address is http on that host.
    """
    found = []
    if login.user and address.is_web:
        # A user without password may be a token, or a name that the user's own helper has the password for.
        found.append(
            Grant(
                (address.scheme,),
                address.host,
                address.port,
                "",
                login.user,
                login.password,
                own_helpers_first=not login.password,
            )
        )
    found += [_grant(credential, address) for credential in settings.credentials if credential.host or address.is_web]
    return tuple(found)


def _grant(credential: GitCredential, address: Address) -> Grant:
    host, port = credential.host or address.host, credential.port
    if not credential.host:
        port = address.port
    own = host.casefold() == address.host.casefold()
    schemes = (address.scheme,) if own and address.is_web else ("https",)
    user = credential.user or "git"
    return Grant(schemes, host, port, credential.prefix, user, credential.password, credential.bearer)


@contextlib.contextmanager
def lend(grants: tuple[Grant, ...], git: Git, folder: Path) -> Iterator[Git]:
    """A git that gets the credentials it asks for; the private files behind it are gone afterwards.

    Args:
        grants: what may be told to whom.
        git: the git to equip.
        folder: the run's own folder, in which a private one is made.
    """
    if not grants:
        yield git
        return
    private = Path(tempfile.mkdtemp(prefix=".git-access-", dir=folder))  # mode 0700
    try:
        yield _equip(grants, git, private)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _equip(grants: tuple[Grant, ...], git: Git, private: Path) -> Git:
    secrets = private / "grants.json"
    asked = [attrs.asdict(grant) for grant in grants if not grant.bearer]
    write_atomic(secrets, json.dumps(asked), durable=False)
    helper = private / "askpass"
    command = [sys.executable, "-I", "-S", askpass.__file__, str(secrets)]
    write_atomic(helper, f'#!/bin/sh\nexec {shlex.join(command)} "$1"\n', mode=0o700, durable=False)
    entries: list[tuple[str, str]] = []
    for url, grant in ((url, each) for each in grants for url in each.urls):
        if not grant.own_helpers_first:
            # The owner named a credential for this place: their other helpers are neither asked nor told to forget.
            entries.append((f"credential.{url}.helper", ""))
        if grant.prefix:
            entries.append((f"credential.{url}.useHttpPath", "true"))
    if any(grant.bearer and not _TOKEN.fullmatch(grant.password) for grant in grants):
        raise UserError(
            "agent.git_pass is no bearer token: it has characters that an HTTP header cannot carry",
            remedy="Paste the token again, or switch agent.git_use_ms_entra_token off",
            code="bad-git-token",
        )
    headers = "".join(
        f'[http "{url}"]\n\textraHeader = "Authorization: Bearer {grant.password}"\n'
        for grant in grants
        if grant.bearer
        for url in grant.urls
    )
    if headers:
        config = private / "gitconfig"
        write_atomic(config, headers, durable=False)
        entries.append(("include.path", str(config)))
    return git.with_config(entries).with_environ({"GIT_ASKPASS": str(helper)})
