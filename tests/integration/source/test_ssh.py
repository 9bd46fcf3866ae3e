"""git over ssh, from a real sshd: keys of users in an agent, keys of hosts by setting."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import SourceSettings
from tests.helpers.git_ssh import SshHost, make_key, serve_ssh, ssh_agent

from .conftest import Fetch, Recorder, Upstream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with serve_ssh(tmp_path_factory.mktemp("sshd")) as host:
        yield host


@pytest.fixture(scope="module")
def agent(server: SshHost) -> Iterator[str]:
    with ssh_agent(server.key) as place:
        yield place


@pytest.fixture
def mine(settings: SourceSettings, agent: str) -> SourceSettings:
    return attrs.evolve(settings, allow_local=False, environ={**os.environ, "SSH_AUTH_SOCK": agent})


def pinned(settings: SourceSettings, *lines: str) -> SourceSettings:
    return attrs.evolve(settings, known_hosts=lines)


def own_known_hosts() -> bytes:
    file = Path("~" + os.environ.get("USER", "root")).expanduser() / ".ssh" / "known_hosts"
    return file.read_bytes() if file.is_file() else b""


def test_a_pinned_host_and_a_key_in_the_agent(
    server: SshHost, mine: SourceSettings, fetch: Fetch, upstream: Upstream
) -> None:
    result = fetch(pinned(mine, server.known), repository=server.url(upstream.path))
    assert result.commit == upstream.git("rev-parse", "HEAD")
    assert result.repository == server.url(upstream.path)
    again = fetch(pinned(mine, server.known), repository=server.url(upstream.path), version_num=result.commit)
    assert again.reused == ("mirror", "commit")


def test_a_key_from_a_file(server: SshHost, settings: SourceSettings, fetch: Fetch, upstream: Upstream) -> None:
    """The user's own command of ssh, as they would set it; then their command decides about hosts, too."""
    known = server.folder / "known hosts"
    known.write_text(server.known + "\n")
    command = f"ssh -oBatchMode=yes -i '{server.key}' -oUserKnownHostsFile='\"{known}\"'"
    own = attrs.evolve(settings, environ={**os.environ, "GIT_SSH_COMMAND": command})
    assert fetch(own, repository=server.url(upstream.path)).commit


def test_an_unknown_host_is_refused_with_a_remedy(
    server: SshHost, mine: SourceSettings, fetch: Fetch, upstream: Upstream
) -> None:
    before = own_known_hosts()
    with pytest.raises(UserError) as caught:
        fetch(mine, repository=server.url(upstream.path))
    assert caught.value.code == "git-host-key"
    assert "the ssh key of 127.0.0.1 is not known" in caught.value.message
    assert f"ssh-keyscan -p {server.port} 127.0.0.1" in caught.value.remedy
    assert "agent.git_host_keys" in caught.value.remedy
    assert own_known_hosts() == before


def test_a_new_host_may_be_accepted_and_is_then_known(
    server: SshHost, mine: SourceSettings, fetch: Fetch, upstream: Upstream
) -> None:
    before = own_known_hosts()
    accepting = attrs.evolve(mine, accept_new_hosts=True)
    fetch(accepting, repository=server.url(upstream.path))
    assert own_known_hosts() == before
    kept = mine.vcs_cache_path / "known_hosts"
    lines = kept.read_text().split()
    assert server.known.split()[-1] in lines
    kept.write_text(" ".join([server.known.split()[0], "ssh-ed25519", other_key(mine.vcs_cache_path)]) + "\n")
    with pytest.raises(UserError, match="shows another key than") as caught:
        fetch(accepting, repository=server.url(upstream.path), branch="main")
    assert caught.value.code == "git-host-key"
    assert f"ssh-keygen -R '[127.0.0.1]:{server.port}'" in caught.value.remedy


def other_key(folder: Path) -> str:
    make_key(folder / "other")
    return (folder / "other.pub").read_text().split()[1]


def test_a_key_that_may_not_read(
    server: SshHost, mine: SourceSettings, fetch: Fetch, upstream: Upstream, tmp_path: Path
) -> None:
    make_key(tmp_path / "stranger")
    with ssh_agent(tmp_path / "stranger") as place:
        strange = attrs.evolve(mine, environ={**mine.environ, "SSH_AUTH_SOCK": place}, known_hosts=(server.known,))
        with pytest.raises(UserError, match=r"127.0.0.1 refused this machine's ssh key") as caught:
            fetch(strange, repository=server.url(upstream.path))
    assert caught.value.code == "git-auth-failed"


def test_https_addresses_become_ssh_with_user_and_port(
    server: SshHost, mine: SourceSettings, fetch: Fetch, upstream: Upstream, console: Recorder
) -> None:
    """Submodules go the same way: one that is relative, one that names the host."""
    for name in ("near", "named"):
        library = Upstream.new(upstream.path.parent / name)
        commit = library.commit()
        url = f"../{name}" if name == "near" else f"https://127.0.0.1{library.path}"
        upstream.git("config", "--file", ".gitmodules", f"submodule.{name}.path", name)
        upstream.git("config", "--file", ".gitmodules", f"submodule.{name}.url", url)
        upstream.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{name}")
    upstream.git("add", ".gitmodules")
    upstream.git("commit", "--quiet", "--message", "submodules")
    forced = attrs.evolve(
        pinned(mine, server.known), force_ssh=True, force_ssh_user=server.user, force_ssh_port=server.port
    )
    result = fetch(forced, repository=f"https://127.0.0.1{upstream.path}")
    assert result.repository == server.url(upstream.path)
    assert (result.root / "near" / ".git").exists()
    assert (result.root / "named" / ".git").exists()
    assert "refused" not in console.text
    status = subprocess.run(["git", "status", "--porcelain"], cwd=result.root, capture_output=True, check=True)
    assert status.stdout == b""
