"""git over https, from hosts with passwords and certificates of their own."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.config.kinds import Credential
from clearml_agent_clone.config.settings_git import GitSettings
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import GitCredential, SourceSettings
from tests.helpers.git_http import GitHost, make_certificate, serve
from tests.helpers.git_watch import files_with, watching

from .conftest import Fetch, Recorder, Upstream

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl to make certificates with")
HOUSE, OTHER = ("ada", "pass-of-the-house"), ("bob", "pass-of-the-other")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one certificate for 127.0.0.1, one for localhost, and both as authorities."""
    folder = tmp_path_factory.mktemp("tls")
    made = [make_certificate(folder, "127.0.0.1"), make_certificate(folder, "localhost")]
    (folder / "authorities").write_text("".join(file.read_text() for file in made))
    return folder


@pytest.fixture
def house(certificates: Path, upstream: Upstream) -> Iterator[GitHost]:
    """The host of the task's repository."""
    with serve(upstream.path.parent, certificates / "127.0.0.1.pem") as host:
        host.passwords["127.0.0.1"] = HOUSE
        yield host


@pytest.fixture
def other(certificates: Path, tmp_path: Path) -> Iterator[GitHost]:
    """Another host, with a repository ``library``."""
    Upstream.new(tmp_path / "other" / "library").commit()
    with serve(tmp_path / "other", certificates / "localhost.pem") as host:
        host.passwords["localhost"] = OTHER
        yield host


@pytest.fixture
def trusting(settings: SourceSettings, certificates: Path) -> SourceSettings:
    environ = {**os.environ, "GIT_SSL_CAINFO": str(certificates / "authorities")}
    return attrs.evolve(settings, environ=environ, allow_local=False)


@attrs.frozen
class Scene:
    """Two hosts, and a task's repository with a submodule on the other one."""

    house: GitHost
    other: GitHost
    settings: SourceSettings
    console: Recorder


@pytest.fixture
def scene(house: GitHost, other: GitHost, trusting: SourceSettings, upstream: Upstream, console: Recorder) -> Scene:
    add_submodule(upstream, other.url("library", "localhost"))
    return Scene(house, other, trusting, console)


def with_logins(settings: SourceSettings, *entries: tuple[str, tuple[str, str]]) -> SourceSettings:
    credentials = tuple(GitCredential.parse(host, *login) for host, login in entries)
    return attrs.evolve(settings, credentials=credentials)


def test_a_certificate_must_be_trusted(house: GitHost, fetch: Fetch, settings: SourceSettings) -> None:
    with pytest.raises(UserError, match=r"no trusted connection to 127.0.0.1.*http.sslCAInfo") as caught:
        fetch(with_logins(settings, ("", HOUSE)), repository=house.url("project"))
    assert caught.value.code == "git-tls"
    assert house.asked == []


def test_two_hosts_with_users_of_their_own(scene: Scene, fetch: Fetch) -> None:
    both = with_logins(scene.settings, ("localhost", OTHER), ("127.0.0.1", HOUSE))
    result = fetch(both, repository=scene.house.url("project"))
    assert (result.root / "library" / ".git").exists()
    assert set(scene.house.logins) == {("127.0.0.1", ":".join(HOUSE))}
    assert set(scene.other.logins) == {("localhost", ":".join(OTHER))}
    assert not any(secret in scene.console.text for _, secret in (HOUSE, OTHER))


def add_submodule(upstream: Upstream, url: str, name: str = "library") -> str:
    """Record the newest commit of another repository beside ``upstream`` (or on another host) as a submodule."""
    source = next(path for path in upstream.path.parent.parent.glob(f"*/{name}"))
    commit = Upstream(source).git("rev-parse", "HEAD")
    upstream.git("config", "--file", ".gitmodules", f"submodule.{name}.path", name)
    upstream.git("config", "--file", ".gitmodules", f"submodule.{name}.url", url)
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{commit},{name}")
    upstream.git("add", ".gitmodules")
    upstream.git("commit", "--quiet", "--message", "submodule")
    return upstream.git("rev-parse", "HEAD")


@pytest.mark.parametrize("late", [False, True], ids=["before the login", "after the login"])
def test_a_redirection_takes_no_password_with_it(
    house: GitHost, other: GitHost, fetch: Fetch, trusting: SourceSettings, *, late: bool
) -> None:
    """The second host asks for a password, too: it must not get the first one's."""
    house.redirects["/project"] = other.url("library", "localhost")
    if not late:
        house.passwords.clear()
    with pytest.raises(UserError) as caught:
        fetch(with_logins(trusting, ("", HOUSE), ("127.0.0.1", HOUSE)), repository=house.url("project"))
    assert caught.value.code == "git-auth-failed"
    assert len(other.asked) > 0
    assert other.logins == []
    assert_never_told(other, HOUSE[1])


def assert_never_told(host: GitHost, secret: str) -> None:
    encoded = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
    assert not [head for head in host.heads if secret in head or encoded in head or "Authorization" in head]


@pytest.mark.parametrize("kind", ["bearer", "pat"])
def test_a_token_header_follows_no_redirection(
    house: GitHost, other: GitHost, fetch: Fetch, trusting: SourceSettings, kind: str
) -> None:
    """git would send the header to every place it is led to."""
    token = attrs.evolve(
        GitCredential.parse("127.0.0.1", "", "t0ken"), header="Bearer" if kind == "bearer" else "Basic"
    )
    mine = attrs.evolve(trusting, credentials=(token,))
    house.passwords["127.0.0.1"] = ("", "t0ken")
    if kind == "bearer":
        house.bearer = "t0ken"
    assert fetch(mine, repository=house.url("project")).commit
    assert all(header for _, _, header in house.asked)  # sent unasked
    house.redirects["/project"] = other.url("library", "localhost")
    other.passwords.clear()
    with pytest.raises(UserError, match="somewhere else") as caught:
        fetch(mine, repository=house.url("project"), branch="main")
    assert caught.value.code == "repository-moved"
    assert other.asked == []


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        ({"user": "ada", "password": HOUSE[1]}, True),
        ({"user": "ada", "password": HOUSE[1], "host": "127.0.0.1"}, True),
        ({"user": "ada", "password": HOUSE[1], "host": "localhost"}, False),
        ({"user": "x", "password": "y", "extra_credentials": (Credential(*HOUSE, host="127.0.0.1"),)}, True),
        (
            {"user": "ada", "password": HOUSE[1], "host": "https://127.0.0.1:{port}/proj", "host_match_prefix": True},
            False,
        ),
        (
            {
                "user": "ada",
                "password": HOUSE[1],
                "host": "https://127.0.0.1:{port}/project",
                "host_match_prefix": True,
            },
            True,
        ),
    ],
    ids=["any host", "host", "other host", "extra", "half a path", "path"],
)
def test_the_keys_of_the_configuration(
    house: GitHost, fetch: Fetch, trusting: SourceSettings, keys: dict[str, str], *, wanted: bool
) -> None:
    values = {name: value.format(port=house.port) if isinstance(value, str) else value for name, value in keys.items()}
    git = GitSettings(**values)  # type: ignore[arg-type] # the fields are of more than one type
    made = SourceSettings.from_settings(git, trusting.environ)
    mine = attrs.evolve(trusting, credentials=made.credentials)
    with contextlib.nullcontext() if wanted else pytest.raises(UserError, match="refused the credentials"):
        fetch(mine, repository=house.url("project"))
    assert set(house.logins) == ({("127.0.0.1", ":".join(HOUSE))} if wanted else set())


def test_two_users_of_one_host_by_path(
    house: GitHost, fetch: Fetch, trusting: SourceSettings, upstream: Upstream
) -> None:
    Upstream.new(upstream.path.parent / "library").commit()
    house.passwords = {"127.0.0.1/project": HOUSE, "127.0.0.1/library": OTHER}
    add_submodule(upstream, "../library")
    both = with_logins(trusting, ("127.0.0.1/library", OTHER), ("127.0.0.1/project", HOUSE))
    result = fetch(both, repository=house.url("project"))
    assert (result.root / "library" / ".git").exists()
    told = {(path.split("/")[1], header) for _, path, header in house.asked if header}
    basic = {name: "Basic " + base64.b64encode(":".join(login).encode()).decode()
             for name, login in (("project", HOUSE), ("library", OTHER))}  # fmt: skip
    assert told == set(basic.items())


def test_ssh_addresses_become_https_with_the_credentials_port(
    house: GitHost, fetch: Fetch, trusting: SourceSettings, upstream: Upstream
) -> None:
    Upstream.new(upstream.path.parent / "library").commit()
    add_submodule(upstream, "git@127.0.0.1:library")
    mine = with_logins(trusting, (f"127.0.0.1:{house.port}", HOUSE))
    for written in ("git@127.0.0.1:project", "ssh://git@127.0.0.1:2222/project", "ssh://git@127.0.0.1/project"):
        result = fetch(mine, repository=written)
        assert result.repository == house.url("project")
        assert (result.root / "library" / ".git").exists()


def test_nothing_of_a_password_is_seen_while_cloning(scene: Scene, fetch: Fetch, tmp_path: Path) -> None:
    """Processes, files and console are searched all the time, submodule included; the server's folder is not ours."""
    both = with_logins(scene.settings, ("localhost", OTHER), ("", HOUSE))
    ours = [tmp_path / "run1", tmp_path / "cache"]
    with watching(*ours) as seen:
        result = fetch(both, repository=scene.house.url("project"))
    secrets = (HOUSE[1], OTHER[1])
    assert seen.showing("git")
    assert seen.showing(*secrets) == set()
    assert seen.readable == set()
    assert not any(secret in scene.console.text for secret in secrets)
    assert [path for folder in ours for path in files_with(folder, *secrets)] == []
    assert scene.house.url("project") in (result.root / ".git" / "config").read_text()
