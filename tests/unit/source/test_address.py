"""URLs: what is refused, what is rewritten, and that nothing secret is left in what is shown."""

from __future__ import annotations

import pytest
from git import Git
from git.exc import UnsafeProtocolError
from hypothesis import given
from hypothesis import settings as tuned
from hypothesis import strategies as st

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.address import parse_address, without_user_info
from clearml_agent_clone.source.plan import rewrite
from clearml_agent_clone.source.settings import GitCredential, SourceSettings


@pytest.mark.parametrize(
    ("written", "url", "name"),
    [
        ("https://github.com/org/repo.git", "https://github.com/org/repo.git", "repo"),
        ("https://user:pa%40ss@github.com/org/repo", "https://github.com/org/repo", "repo"),
        ("https://token@github.com:8443/org/repo.git/", "https://github.com:8443/org/repo.git/", "repo"),
        ("HTTPS://github.com/a", "https://github.com/a", "a"),
        ("git+https://github.com/a/b", "https://github.com/a/b", "b"),
        (
            "https://dev.azure.com/org/My Project/_git/my repo",
            "https://dev.azure.com/org/My Project/_git/my repo",
            "my repo",
        ),
        ("git@github.com:org/repo.git", "git@github.com:org/repo.git", "repo"),
        ("host:repo", "host:repo", "repo"),
        ("ssh://git@host:2222/org/repo.git", "ssh://git@host:2222/org/repo.git", "repo"),
        ("ssh://alice:secret@host/repo", "ssh://alice@host/repo", "repo"),
        ("git+ssh://git@host/repo", "ssh://git@host/repo", "repo"),
        ("git://host/repo", "git://host/repo", "repo"),
        ("https://[::1]:8080/repo", "https://[::1]:8080/repo", "repo"),
        ("/srv/git/repo.git", "/srv/git/repo.git", "repo"),
        ("file:///srv/git/my%20repo", "/srv/git/my repo", "my repo"),
        ("/srv/work/repo/.git", "/srv/work/repo/.git", "repo"),
    ],
)
def test_an_address_is_shown_without_secrets(written: str, url: str, name: str) -> None:
    address, _ = parse_address(written, allow_local=True)
    assert (address.url, address.name) == (url, name)


def test_user_and_password_of_a_url_are_kept_apart() -> None:
    _, login = parse_address("https://al%40ice:p%3Aw@host/repo", allow_local=False)
    assert (login.user, login.password) == ("al@ice", "p:w")
    assert "p:w" not in repr(login)


ATTACKS = [
    "",
    "-",
    "--upload-pack=touch /tmp/x",
    "-oProxyCommand=touch /tmp/x",
    "ext::sh -c touch% /tmp/x",
    "EXT::sh -c x",
    "fd::17",
    "transport::address",
    "ext://sh/repo",
    "ftp://host/repo",
    "ssh://-oProxyCommand=x/repo",
    "ssh://host:-1/repo",
    "ssh://-lroot@host/repo",
    "-oProxyCommand=x:repo",
    "git@-oProxyCommand=x:repo",
    "host:-x",
    "-lroot@host:repo",
    "https://host",
    "https:///repo",
    "https://host:99999/repo",
    "https://ho st/repo",
    "https://host/re\npo",
    "https://host\x00/repo",
    "file://host/share/repo",
    "//host/share/repo",
    "relative/path",
    "./repo",
    "~/repo",
    "C:\\work\\repo",
    "C:/work/repo",
]


@pytest.mark.parametrize("written", ATTACKS)
def test_an_unsafe_address_is_refused(written: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_address(written, allow_local=True)
    assert caught.value.code == "bad-repository"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("written", ["/srv/repo", "file:///srv/repo"])
def test_a_path_needs_permission(written: str) -> None:
    with pytest.raises(UserError, match="path of one machine"):
        parse_address(written, allow_local=False)


@tuned(deadline=None, max_examples=300)
@given(st.text(alphabet=st.sampled_from("-:/@.ext shgitfdl\\~%[]\n$(`;'\"aC0"), max_size=30))
def test_whatever_is_accepted_is_no_option_and_no_helper(written: str) -> None:
    """GitPython's guard and ours agree, and ssh can take neither host nor user for an option."""
    try:
        address, _ = parse_address(written, allow_local=True)
    except UserError:
        return
    assert not address.url.startswith("-")
    assert not address.host.startswith("-")
    assert not address.user.startswith("-")
    assert not address.path.startswith("-")
    assert address.scheme in {"https", "http", "ssh", "git", "file"}
    try:
        Git.check_unsafe_protocols(address.url)
    except UnsafeProtocolError:
        pytest.fail(f"GitPython refuses {address.url!r}")
    again, _ = parse_address(address.url, allow_local=True)
    assert again.url == address.url


@tuned(deadline=None)
@given(
    st.text(st.characters(codec="ascii", exclude_characters="/@ ", categories=("L", "N", "P", "S")), min_size=1),
    st.text(st.characters(codec="ascii", exclude_characters="/ ", categories=("L", "N", "P", "S")), min_size=3),
)
def test_user_info_is_taken_out_of_any_text(user: str, password: str) -> None:
    text = f"fatal: unable to access 'https://{user}:{password}@host/repo': no"
    assert without_user_info(text) == "fatal: unable to access 'https://host/repo': no"


def rewritten(written: str, **options: object) -> str:
    settings = SourceSettings(**options)  # type: ignore[arg-type] # given by name, one at a time
    return rewrite(parse_address(written, allow_local=False)[0], settings).url


def test_ssh_becomes_https_only_where_there_are_credentials() -> None:
    mine = (GitCredential.parse("github.com", "me", "token"),)
    assert rewritten("git@github.com:org/repo.git", credentials=mine) == "https://github.com/org/repo.git"
    assert rewritten("ssh://git@github.com:22/org/repo.git", credentials=mine) == "https://github.com/org/repo.git"
    assert rewritten("git@gitlab.com:org/repo.git", credentials=mine) == "git@gitlab.com:org/repo.git"
    assert rewritten("git@github.com:org/repo.git") == "git@github.com:org/repo.git"
    assert rewritten("git@github.com:org/repo.git", credentials=mine, translate_ssh=False).startswith("git@")
    http = {"credentials": mine, "translate_scheme": "http"}
    assert rewritten("git@github.com:org/repo.git", **http) == "http://github.com/org/repo.git"
    port = (GitCredential.parse("git.corp:8443", "me", "token"),)
    assert rewritten("ssh://git@git.corp:2222/org/repo.git", credentials=port) == "https://git.corp:8443/org/repo.git"


def test_https_becomes_ssh_when_forced() -> None:
    url = "https://github.com/org/repo.git"
    assert rewritten(url, force_ssh=True) == "ssh://git@github.com/org/repo.git"
    assert (
        rewritten(url, force_ssh=True, force_ssh_user="ci", force_ssh_port=2222)
        == "ssh://ci@github.com:2222/org/repo.git"
    )
    assert rewritten(url, force_ssh=True, force_ssh_host="gitlab.com") == url
    assert rewritten("git@h:org/r", force_ssh=True) == "git@h:org/r"
    assert rewritten("git@h:org/r", force_ssh=True, force_ssh_port=22022) == "ssh://git@h:22022/org/r"
    credentials = (GitCredential.parse("", "me", "token"),)
    assert rewritten(url, force_ssh=True, credentials=credentials).startswith("ssh://")


@pytest.mark.parametrize(
    ("host", "url", "expected"),
    [
        ("github.com", "https://github.com/a/b", True),
        ("GitHub.com", "https://github.com/a/b", True),
        ("https://github.com", "https://github.com/a/b", True),
        ("github.com", "https://github.com.evil.org/a/b", False),
        ("github.com", "https://evil.org/github.com/b", False),
        ("https://github.com/team", "https://github.com/team/b", True),
        ("https://github.com/team", "https://github.com/team-evil/b", False),
        ("github.com/team/", "https://github.com/other/b", False),
        ("host:8443", "https://host:8443/a", True),
        ("host:8443", "https://host/a", False),
        ("host:443", "https://host/a", True),
        ("host", "https://host:9/a", True),
        ("", "https://anything/a", True),
        ("github.com/team", "git@github.com:team/b", True),
    ],
)
def test_a_credential_is_for_its_host_and_path(host: str, url: str, expected: bool) -> None:
    address, _ = parse_address(url, allow_local=False)
    assert GitCredential.parse(host, "me", "token").is_for(address) is expected
