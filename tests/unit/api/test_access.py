from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearml_agent_clone.api.access import Retry, ServerAccess
from clearml_agent_clone.api.lines import add_up, pieces
from clearml_agent_clone.api.route import Route
from clearml_agent_clone.config import ApiSettings, RetrySettings
from clearml_agent_clone.errors import UserError

patient = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with something else; that says nothing about our code."""


@pytest.mark.parametrize(
    ("given_url", "url"),
    [
        ("http://localhost:8008", "http://localhost:8008"),
        (" https://api.example.com/ ", "https://api.example.com"),
        ("https://u:p@API.example.com:443/a/b/", "https://api.example.com:443/a/b"),
        ("http://[::1]:8008", "http://[::1]:8008"),
    ],
)
def test_urls(given_url: str, url: str) -> None:
    assert ServerAccess(given_url).url == url


@pytest.mark.parametrize("url", ["", "localhost:8008", "ftp://host", "http://", "http://host:port", "http://u:secret@"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(UserError, match=r"api\.api_server") as caught:
        ServerAccess(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["two words", "tök", "a\nb"])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(UserError) as caught:
        ServerAccess("http://h", token=token)
    assert token not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    shown = repr(ServerAccess("http://h", "the-key", "the-secret", token="the-token"))
    assert not any(secret in shown for secret in ("the-key", "the-secret", "the-token"))


def test_from_settings() -> None:
    settings = ApiSettings(
        api_server="http://host:8008/",
        access_key="k",
        secret_key="s",
        verify_certificate=False,
        default_method="put",
        max_req_size=100,
        token_expiration_threshold_sec=60.0,
        request_token_expiration_sec=3600.0,
        retries=RetrySettings(connect=2, backoff_max=5.0),
        initial_connect_retries=6,
    )
    access = ServerAccess.from_settings(settings, {"CLEARML_AGENT_FORCE_MAX_API_VERSION": "2.13"})
    assert (access.url, access.access_key, access.secret_key) == ("http://host:8008", "k", "s")
    assert (access.verify, access.method, access.max_request_size) == (False, "PUT", 100)
    assert (access.refresh_threshold, access.requested_lifetime) == (60.0, 3600)
    assert (access.retry.attempts, access.retry.cap) == (3, 5.0)
    assert (access.login_retry.attempts, access.login_retry.cap) == (7, 5.0)
    assert access.max_api_version == (2, 13)


def test_the_usual_settings_end_soon_enough() -> None:
    access = ServerAccess.from_settings(ApiSettings(api_server="http://h"), {})
    assert access.retry == Retry()
    assert access.login_retry.attempts == 5
    assert access.max_api_version is None


def test_a_limit_that_is_no_version() -> None:
    with pytest.raises(UserError, match='CLEARML_AGENT_FORCE_MAX_API_VERSION "newest"'):
        ServerAccess.from_settings(
            ApiSettings(api_server="http://h"), {"CLEARML_AGENT_FORCE_MAX_API_VERSION": "newest"}
        )


@patient
@given(st.integers(0, 10**6), st.floats(0, 1e6), st.integers())
def test_pauses_stay_within_their_bounds(repeat: int, asked: float, seed: int) -> None:
    retry, rng = Retry(base=0.5, cap=30.0), random.Random(seed)
    assert 0.0 <= retry.pause(repeat, rng) <= min(30.0, 0.5 * 2.0 ** min(repeat, 30))
    assert asked <= retry.pause(repeat, rng, asked) <= asked + 1.0


def test_pauses_double_until_they_are_long_enough() -> None:
    class Longest(random.Random):
        def uniform(self, a: float, b: float) -> float:
            return b

    assert [Retry(base=0.5, cap=3.0).pause(repeat, Longest()) for repeat in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]


@patient
@given(st.lists(st.binary(min_size=1, max_size=20)), st.integers(1, 50))
def test_pieces_keep_every_line_in_order(lines: list[bytes], limit: int) -> None:
    cut = list(pieces(lines, limit))
    assert [line for piece in cut for line in piece] == lines
    assert all(piece for piece in cut)
    assert all(len(piece) == 1 or len(b"\n".join(piece)) <= limit for piece in cut)


def test_answers_of_unlike_shapes_add_up_to_something() -> None:
    total: dict[str, object] = {}
    for answer in (
        {"added": 1, "errors_info": {"a": 1}},
        {"added": "x", "errors_info": None},
        {"errors_info": {"a": 2}},
    ):
        add_up(total, answer)
    assert total == {"added": "x", "errors_info": {"a": 2}}


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("http://h:8008", {}, ""),
        ("http://h:8008", {"http_proxy": "http://p:1", "HTTP_PROXY": "http://q:1"}, "http://p:1"),
        ("https://h", {"HTTP_PROXY": "http://p:1"}, ""),
        ("https://h", {"ALL_PROXY": "p:1"}, "http://p:1"),
        ("http://h", {"http_proxy": "p", "no_proxy": "*"}, ""),
        ("http://a.b.c", {"http_proxy": "p", "no_proxy": "x, .b.c"}, ""),
        ("http://a.b.c", {"http_proxy": "p", "NO_PROXY": "*.b.c"}, ""),
        ("http://b.c", {"http_proxy": "p", "no_proxy": ".b.c"}, ""),
        ("http://h:8008", {"http_proxy": "p", "no_proxy": "h:8008"}, ""),
        ("http://h:8008", {"http_proxy": "p", "no_proxy": "h:80"}, "http://p"),
        ("http://10.1.2.3", {"http_proxy": "p", "no_proxy": "10.0.0.0/8"}, ""),
        ("http://11.1.2.3", {"http_proxy": "p", "no_proxy": "10.0.0.0/8"}, "http://p"),
        ("http://[::1]:8008", {"http_proxy": "p", "no_proxy": "::1"}, ""),
        ("http://h", {"http_proxy": "p", "no_proxy": " , "}, "http://p"),
    ],
)
def test_proxies(url: str, environ: dict[str, str], proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert Route.to(ServerAccess(url)).proxy == proxy
