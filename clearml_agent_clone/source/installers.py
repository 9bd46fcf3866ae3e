"""The worker's git credentials for pip and uv, whose requirements may be git repositories as well."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.source.access import grants_for, lend
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.git import Git, git_environ
from clearml_agent_clone.source.plan import SourcePlan
from clearml_agent_clone.source.settings import SourceSettings

_PASSED_ON = re.compile(r"GIT_(?:CONFIG_\w+|TERMINAL_PROMPT|ASKPASS|SSH_COMMAND)")


@contextlib.contextmanager
def lend_to_installers(plan: SourcePlan, folder: Path) -> Iterator[dict[str, str]]:
    """Environment variables with which the git of pip and uv gets the same credentials as the checkout did.

    They hold no secret themselves; the private files behind them are gone afterwards. A credential without a host is
    for the host of the task's repository here, too: a requirement may name any host.

    Args:
        plan: the task's; it need not have a repository.
        folder: the run's own, which exists.

    Raises:
        UserError: code ``bad-git-token``.
    """
    settings = plan.settings
    address = plan.address
    if address is None or address.mercurial:
        settings = attrs.evolve(settings, credentials=tuple(one for one in settings.credentials if one.host))
        address = Address("https")
    git = Git(git_environ(settings.environ, allow_local=True))
    with lend(grants_for(address, plan.login, settings), git, folder, settings) as lent:
        equipped = lent.with_config(_same_transport(address, settings))
        yield {name: value for name, value in equipped.environ.items() if _PASSED_ON.fullmatch(name)}


def _same_transport(address: Address, settings: SourceSettings) -> Iterator[tuple[str, str]]:
    """Configuration that takes git requirements over the transport that the settings ask for."""
    if settings.force_ssh:
        host = settings.force_ssh_host.rpartition("://")[2].partition("/")[0] or address.host
        port = f":{settings.force_ssh_port}" if settings.force_ssh_port else ""
        if host:
            yield f"url.ssh://{settings.force_ssh_user}@{host}{port}/.insteadOf", f"https://{host}/"
    elif settings.translate_ssh:
        for credential in settings.credentials:
            host, number = credential.host or address.host, credential.port if credential.host else address.port
            port = f":{number}" if number is not None else ""
            for written in (f"git@{host}:", f"ssh://git@{host}/"):
                yield f"url.{settings.translate_scheme}://{host}{port}/.insteadOf", written
