"""Credentials: to the host that they are for, and nowhere else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import Cancelled, Retryable, UserError
from clearml_agent_clone.source import GitCredential, SourceSettings, helper
from clearml_agent_clone.source.access import grants_for, lend
from clearml_agent_clone.source.address import parse_address
from clearml_agent_clone.source.git import Git, git_environ
from clearml_agent_clone.util.process import Cancel
from tests.helpers.git_watch import watching

from .conftest import Fetch, GitHost, Recorder, Upstream

SECRET = "hunter2$`'\"\\ %41"


def login(host: str, user: str = "me", password: str = SECRET, prefix: str = "") -> GitCredential:
    return GitCredential.parse(host + prefix, user, password)


def test_a_password_is_asked_for_and_given(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, console: Recorder, tmp_path: Path
) -> None:
    git_host.passwords["127.0.0.1"] = ("me", SECRET)
    mine = attrs.evolve(settings, credentials=(login("127.0.0.1"),))
    result = fetch(mine, repository=git_host.url("project"))
    assert (result.root / "train.py").exists()
    assert result.repository == git_host.url("project")
    assert ("127.0.0.1", f"me:{SECRET}") in git_host.logins
    left = [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert left == []
    assert not list(tmp_path.rglob(".git-access-*"))
    assert SECRET not in console.text


def test_two_hosts_get_each_its_own(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, upstream: Upstream
) -> None:
    """A submodule on another host sees that host's credential only; one without host goes to the task's host."""
    git_host.passwords = {"127.0.0.1": ("me", "one"), "localhost": ("you", "two")}
    library = Upstream.new(upstream.path.parent / "library")
    library.commit()
    upstream.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../library", "library")
    upstream.git("config", "--file", ".gitmodules", "submodule.library.url", git_host.url("library", "localhost"))
    upstream.commit()
    both = attrs.evolve(settings, credentials=(login("http://localhost", "you", "two"), login("", "me", "one")))
    fetch(both, repository=git_host.url("project"))
    assert set(git_host.logins) == {("127.0.0.1", "me:one"), ("localhost", "you:two")}
    git_host.asked.clear()
    anew = attrs.evolve(settings, credentials=(login("", "me", "one"),), vcs_cache_enabled=False)
    with pytest.raises(UserError, match="submodule") as caught:
        fetch(anew, repository=git_host.url("project"))
    assert caught.value.code == "git-auth-failed"
    assert set(git_host.logins) <= {("127.0.0.1", "me:one")}


@pytest.mark.parametrize(
    "credentials",
    [(), (login("127.0.0.1", "me", "wrong"),), (login("localhost"),), (login("127.0.0.1", prefix="/other"),)],
    ids=["none", "wrong", "other-host", "other-path"],
)
def test_refused_credentials_are_named(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, credentials: tuple[GitCredential, ...]
) -> None:
    git_host.passwords["127.0.0.1"] = ("me", SECRET)
    with pytest.raises(UserError, match=r"127.0.0.1 refused the credentials .*agent.git_user") as caught:
        fetch(attrs.evolve(settings, credentials=credentials), repository=git_host.url("project"))
    assert caught.value.code == "git-auth-failed"
    assert SECRET not in str(caught.value)
    assert all(secret == "me:wrong" for _, secret in git_host.logins)


def test_a_credential_for_a_path(git_host: GitHost, fetch: Fetch, settings: SourceSettings) -> None:
    git_host.passwords["127.0.0.1"] = ("me", "one")
    both = (login("127.0.0.1", "x", "other", "/team"), login("127.0.0.1", "me", "one", "/project"))
    fetch(attrs.evolve(settings, credentials=both), repository=git_host.url("project"))
    assert set(git_host.logins) == {("127.0.0.1", "me:one")}


def test_the_login_of_a_url_is_used_and_never_shown(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, console: Recorder
) -> None:
    git_host.passwords["127.0.0.1"] = ("me", "s3cret")
    url = git_host.url("project").replace("://", "://me:s3cret@")
    result = fetch(repository=url)
    config = (result.root / ".git" / "config").read_text()
    for text in (config, console.text, repr(result)):
        assert "s3cret" not in text
    assert Upstream(result.root).git("remote", "get-url", "origin") == git_host.url("project")
    git_host.passwords["127.0.0.1"] = ("t0ken", "")
    assert fetch(repository=git_host.url("project").replace("://", "://t0ken@")).commit == result.commit


def test_the_login_of_a_submodules_url_is_not_shown(
    git_host: GitHost, fetch: Fetch, console: Recorder, upstream: Upstream, settings: SourceSettings
) -> None:
    Upstream.new(upstream.path.parent / "library").commit()
    upstream.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../library", "library")
    url = git_host.url("library").replace("://", "://me:s3cret@")
    upstream.git("config", "--file", ".gitmodules", "submodule.library.url", url)
    upstream.commit()
    fetch(repository=str(upstream.path))
    assert git_host.url("library") in console.text
    assert "s3cret" not in console.text
    git_host.status = 404
    with pytest.raises(UserError, match="submodule") as caught:
        fetch(attrs.evolve(settings, vcs_cache_enabled=False), repository=str(upstream.path))
    assert "s3cret" not in str(caught.value) + console.text


def test_the_owners_credential_comes_before_their_helpers(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, plain_git: Path
) -> None:
    """A stored password of another account is neither used nor, when refused, thrown away; but it is without ours."""
    git_host.passwords["127.0.0.1"] = ("me", "one")
    store, config = plain_git / ".git-credentials", plain_git / ".gitconfig"
    kept = config.read_text()
    config.write_text(kept + "[credential]\n\thelper = store\n")
    stored = f"http://old:stale@127.0.0.1:{git_host.port}\n"
    store.write_text(stored)
    try:
        fetch(
            attrs.evolve(settings, credentials=(login("127.0.0.1", "me", "one"),)), repository=git_host.url("project")
        )
        assert store.read_text() == stored
        assert set(git_host.logins) == {("127.0.0.1", "me:one")}
        store.write_text(stored.replace("old:stale", "me:one"))
        git_host.asked.clear()
        fetch(repository=git_host.url("project"), branch="main")
        assert set(git_host.logins) == {("127.0.0.1", "me:one")}
    finally:
        config.write_text(kept)
        store.unlink()


def test_a_bearer_token_is_a_header(git_host: GitHost, fetch: Fetch, settings: SourceSettings) -> None:
    token = attrs.evolve(login("127.0.0.1", "", "ey.tok-en"), header="Bearer")
    fetch(attrs.evolve(settings, credentials=(token,)), repository=git_host.url("project"))
    assert {header for _, _, header in git_host.asked} == {"Bearer ey.tok-en"}
    bad = attrs.evolve(token, password='x"\n[core] sshCommand = evil')
    with pytest.raises(UserError, match="is no token"):
        fetch(attrs.evolve(settings, credentials=(bad,)), repository=git_host.url("project"))


def test_no_secret_in_any_process_or_readable_file(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, tmp_path: Path
) -> None:
    git_host.passwords["127.0.0.1"] = ("me-the-user", "pass-the-word")
    git_host.gate.clear()
    mine = attrs.evolve(settings, credentials=(login("127.0.0.1", "me-the-user", "pass-the-word"),))
    files: list[tuple[int, int]] = []

    def look() -> None:
        git_host.waiting.wait(30)
        for path in tmp_path.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and b"pass-the-word" in path.read_bytes():
                    files.append((path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777))
        git_host.gate.set()

    looker = threading.Thread(target=look)
    looker.start()
    with watching() as seen:
        fetch(mine, repository=git_host.url("project"))
    looker.join()
    assert seen.showing("http://127.0.0.1")  # it saw the clone
    assert seen.showing("pass-the-word", "me-the-user") == set()
    assert files == [(0o600, 0o700)]


def test_cancel_in_the_midst_of_a_clone(git_host: GitHost, fetch: Fetch, settings: SourceSettings) -> None:
    git_host.gate.clear()
    cancel = Cancel()

    def stop() -> None:
        git_host.waiting.wait(30)
        cancel.set()

    stopper = threading.Thread(target=stop)
    stopper.start()
    with pytest.raises(Cancelled):
        fetch(repository=git_host.url("project"), cancel=cancel)
    stopper.join()
    assert not list((settings.vcs_cache_path / "mirrors").glob("*/incoming-*"))
    git_host.gate.set()
    assert fetch(repository=git_host.url("project")).commit


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (404, UserError, "repository-not-found"),
        (403, UserError, "git-auth-failed"),
        (401, UserError, "git-auth-failed"),
        (503, Retryable, "repository-unreachable"),
        (429, Retryable, "repository-unreachable"),
    ],
)
def test_answers_of_a_host(git_host: GitHost, fetch: Fetch, status: int, kind: type[Exception], code: str) -> None:
    git_host.status = status
    with pytest.raises(kind) as caught:
        fetch(repository=git_host.url("project"))
    assert getattr(caught.value, "code", "") == code


def test_a_host_that_is_not_there(git_host: GitHost, fetch: Fetch) -> None:
    for url, text in (
        ("http://127.0.0.1:1/tls-certificate", "cannot be reached"),
        ("http://nowhere.invalid/x", "cannot be found"),
    ):
        with pytest.raises(Retryable, match=text) as caught:
            fetch(repository=url)
        assert caught.value.code == "repository-unreachable"
        assert caught.value.remedy


def test_a_network_that_comes_back(
    git_host: GitHost, fetch: Fetch, settings: SourceSettings, console: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearml_agent_clone.source.transfer._PAUSES", (0.01, 0.01))
    git_host.status = 503
    original = Recorder.say

    def say(self: Recorder, text: str) -> None:
        git_host.status = 0
        original(self, text)

    monkeypatch.setattr(Recorder, "say", say)
    assert fetch(attrs.evolve(settings, attempts=3), repository=git_host.url("project")).commit
    assert "trying again" in console.text


Ask = Callable[[str], str]


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """git's own question to its helpers, with credentials for two hosts."""
    environ = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "GIT_CONFIG_NOSYSTEM": "1"}
    git = Git(git_environ(environ, allow_local=False))
    credentials = (login("other:8443", "you", "two"), login("host/team", "t", "three"), login("host"))
    address, none = parse_address("https://host/a/b", allow_local=False)
    with lend(grants_for(address, none, SourceSettings(credentials=credentials)), git, tmp_path) as equipped:

        def ask(url: str) -> str:
            done = equipped.quiet("credential", "fill", cwd=tmp_path, stdin=f"url={url}\n\n".encode())
            found = dict(line.split("=", 1) for line in done.output.splitlines())
            return f"{found['username']} {found['password']}" if done.ok else ""

        yield ask


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://host", f"me {SECRET}"),
        ("https://HOST:443/x/y.git", f"me {SECRET}"),
        ("https://host:9999/x", f"me {SECRET}"),
        ("https://other-user@host/x", f"me {SECRET}"),
        ("https://host/team/x.git", "t three"),
        ("https://host/team", "t three"),
        ("https://host/teammates/x.git", f"me {SECRET}"),
        ("https://other:8443/x", "you two"),
        ("https://other/x", ""),
        ("http://host/x", ""),
        ("http://other:8443/x", ""),
        ("https://host.evil.org/x", ""),
        ("https://evil.org/host", ""),
        ("https://host@evil.org/x", ""),
        ("https://evil.org/?@host/x", ""),
        ("ssh://host/x", ""),
    ],
)
def test_the_helper_answers_only_for_its_hosts(ask: Ask, url: str, answer: str) -> None:
    assert ask(url) == answer


def test_a_prefix_ends_with_a_folder_whatever_git_sends() -> None:
    grant = {"schemes": ["https"], "host": "h", "port": None, "prefix": "/team", "user": "t", "password": "p"}
    for path, expected in (("team/x", True), ("team", True), ("teammates/x", False), ("", False), ("x/team/y", False)):
        assert bool(helper.answer(f"protocol=https\nhost=h\npath={path}\n", [grant])) is expected


@pytest.mark.parametrize("url", ["https://host/x", "https://host:8443/x", "https://me:word@host/x"])
def test_a_credential_without_host_is_bound_to_host_and_port(url: str) -> None:
    address, in_url = parse_address(url, allow_local=False)
    for grant in grants_for(address, in_url, SourceSettings(credentials=(login(""),))):
        assert (grant.schemes, grant.host, grant.port) == (("https",), "host", address.real_port)


def test_the_helper_forgets_nothing_and_stores_nothing(tmp_path: Path) -> None:
    for operation in ("store", "erase"):
        helper.main([str(tmp_path / "not-there"), operation])
    assert helper.answer("protocol=https\nhost=h:99x\n\n", []) == ""
    assert helper.answer("nonsense", []) == ""


def test_the_helper_needs_nothing_of_the_package() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import runpy; runpy.run_path({helper.__file__!r})"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0


def test_ssh_goes_through_the_users_own_command(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, tmp_path: Path
) -> None:
    """The command stands in for ssh: it notes its arguments and runs the last one here."""
    ssh = tmp_path / "my bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f'#!/bin/sh\necho "$@" >> \'{tmp_path}/called\'\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    mine = attrs.evolve(settings, environ={**settings.environ, "GIT_SSH_COMMAND": f"'{ssh}'"})
    result = fetch(mine, repository=f"alice@git.corp:{upstream.path}")
    assert result.repository == f"alice@git.corp:{upstream.path}"
    assert "alice@git.corp git-upload-pack" in (tmp_path / "called").read_text()
    forced = attrs.evolve(mine, force_ssh=True, force_ssh_port=2222, force_ssh_user="ci")
    result = fetch(forced, repository=f"https://git.corp{upstream.path}")
    assert result.repository == f"ssh://ci@git.corp:2222{upstream.path}"
    assert "-p 2222 ci@git.corp" in (tmp_path / "called").read_text()


def test_the_users_own_ssh_command_is_kept(tmp_path: Path, plain_git: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(plain_git), "GIT_CONFIG_COUNT": "1"}
    environ |= {"GIT_CONFIG_KEY_0": "user.name", "GIT_CONFIG_VALUE_0": "Eve", "GIT_DIR": "/evil", "GIT_TRACE": "1"}
    environ |= {"CLEARML_API_SECRET_KEY": "x", "CLEARML_AGENT_GIT_PASS": "x", "LANG": "de_DE.UTF-8"}
    clean = git_environ(environ, allow_local=False)
    assert "BatchMode=yes" in clean["GIT_SSH_COMMAND"]
    assert clean["GIT_CONFIG_VALUE_0"] == "Eve"
    assert clean["GIT_ALLOW_PROTOCOL"] == "https:http:ssh:git"
    assert not {"GIT_DIR", "GIT_TRACE", "CLEARML_API_SECRET_KEY", "CLEARML_AGENT_GIT_PASS", "LANG"} & set(clean)
    own = git_environ({**environ, "GIT_SSH_COMMAND": "ssh -i key"}, allow_local=True)
    assert own["GIT_SSH_COMMAND"] == "ssh -i key"
    assert Git(clean).for_transfer(tmp_path).environ["GIT_SSH_COMMAND"] == clean["GIT_SSH_COMMAND"]
    configured = Git(clean).with_config([("core.sshCommand", "ssh -F mine")])
    assert "GIT_SSH_COMMAND" not in configured.for_transfer(tmp_path).environ
