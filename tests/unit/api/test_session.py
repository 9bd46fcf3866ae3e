"""The session against scripted answers: login, headers, versions."""

from __future__ import annotations

import pytest

from clearml_agent_clone.api.session import Session

from .conftest import (
    ScriptedServer,
    SessionMaker,
    jwt,
    login,
    ok,
    token,
)


def test_logs_in_once_with_the_key_pair_and_calls_with_the_token(server: ScriptedServer, session: Session) -> None:
    server.will("tasks.get_by_id", ok(task={"id": "1"}))
    assert session.call("tasks.get_by_id", {"task": "1"}) == {"task": {"id": "1"}}
    assert session.call("tasks.ping", {"task": "1"}) == {}
    first, second, third = server.seen
    assert (first.endpoint, second.endpoint, third.endpoint) == ("auth.login", "tasks.get_by_id", "tasks.ping")
    assert first.headers["authorization"] == "Basic S0VZOlNFQ1JFVA=="
    assert second.headers["authorization"] == f"Bearer {token()}"
    assert second.json == {"task": "1"}
    assert {seen.connection for seen in server.seen} == {1}


def test_headers_name_host_and_agent(server: ScriptedServer, new_session: SessionMaker) -> None:
    new_session(host_name="höst\r\nX: 1").call("tasks.ping")
    headers = server.seen[-1].headers
    assert headers["x-clearml-worker"] == headers["x-trains-worker"] == "h_st__X: 1"
    assert headers["x-clearml-agent"] == headers["x-trains-agent"] == "api-0.1.0"
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("method", ["GET", "POST", "put"])
def test_the_method_is_that_of_the_settings(server: ScriptedServer, new_session: SessionMaker, method: str) -> None:
    new_session(method=method).call("tasks.ping", {"task": "1"})
    assert [seen.method for seen in server.seen] == [method.upper()] * 2
    assert server.seen[-1].json == {"task": "1"}


@pytest.mark.parametrize(
    ("claim", "cap", "version", "path"),
    [
        ("2.34", None, None, "/v2.34/tasks.ping"),
        ("2.9", None, None, "/v2.9/tasks.ping"),
        ("2.40", None, None, "/v2.34/tasks.ping"),
        ("2.34", (2, 13), None, "/v2.13/tasks.ping"),
        ("2.34", None, "2.5", "/v2.5/tasks.ping"),
        (None, None, None, "/tasks.ping"),
        ("nonsense", None, None, "/tasks.ping"),
    ],
)
def test_the_version_in_the_path(
    server: ScriptedServer,
    new_session: SessionMaker,
    *,
    claim: str | None,
    cap: tuple[int, int] | None,
    version: str | None,
    path: str,
) -> None:
    server.will("auth.login", login(api_version=claim))
    new_session(max_api_version=cap).call("tasks.ping", version=version)
    assert [seen.path for seen in server.seen] == ["/auth.login", path]


def test_a_path_before_the_endpoints_is_kept(server: ScriptedServer, new_session: SessionMaker) -> None:
    new_session(url=f"{server.url}/clearml/api/").call("tasks.ping")
    assert [seen.path for seen in server.seen] == ["/clearml/api/auth.login", "/clearml/api/v2.34/tasks.ping"]


def test_what_the_token_tells(server: ScriptedServer, new_session: SessionMaker) -> None:
    identity = {"user": "u1", "user_name": "Ann", "company": "c1"}
    server.will("auth.login", login(extensions=["queues.get_next_task.wait"], identity=identity, feature_set="x"))
    info = new_session().server
    assert info.api_version == (2, 34)
    assert info.speaks(2, 9)
    assert not info.speaks(2, 35)
    assert info.extensions == {"queues.get_next_task.wait"}
    assert (info.server_version, info.feature_set, info.user, info.company) == ("2.3.0", "x", "u1", "c1")


@pytest.mark.parametrize("text", ["opaque", "a.b.c", "..", jwt(identity=[], extensions=3, exp="soon", iat=True)])
def test_a_token_that_tells_nothing_still_works(server: ScriptedServer, session: Session, text: str) -> None:
    server.will("auth.login", ok(token=text))
    session.call("tasks.ping")
    assert server.seen[-1].headers["authorization"] == f"Bearer {text}"
    assert session.server.api_version == (0, 0)
