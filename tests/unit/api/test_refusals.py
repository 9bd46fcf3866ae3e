"""What the server, or something in its place, refuses: each as an error of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from clearml_agent_clone.api.errors import (
    CredentialsRefused,
    EndpointMissing,
    InvalidRequest,
    NotClearML,
    Subcode,
)
from clearml_agent_clone.api.session import Session

from .conftest import (
    ScriptedServer,
    SessionMaker,
    Time,
    fault,
    ok,
    page,
)


@pytest.mark.parametrize("answer", [fault(401, 22, "unknown key"), fault(403, 20, "unknown key")])
def test_refused_credentials(server: ScriptedServer, session: Session, answer: Callable[[Any], None]) -> None:
    server.usual["auth.login"] = answer
    with pytest.raises(CredentialsRefused) as caught:
        session.call("tasks.ping")
    assert "unknown key" in caught.value.message
    assert "api.credentials" in caught.value.remedy
    assert "SECRET" not in str(caught.value)
    assert len(server.seen) == 1


def test_no_credentials_are_told_without_asking_the_server(server: ScriptedServer, new_session: SessionMaker) -> None:
    for options, name in (({"access_key": ""}, "access_key"), ({"secret_key": ""}, "secret_key")):
        with pytest.raises(CredentialsRefused, match=f"api.credentials.{name} is not set") as caught:
            new_session(**options).login()
        assert caught.value.code == "credentials-missing"
    assert server.seen == []


def test_a_login_without_a_token(server: ScriptedServer, session: Session) -> None:
    server.usual["auth.login"] = ok()
    with pytest.raises(CredentialsRefused) as caught:
        session.login()
    assert caught.value.code == "login-without-token"


def test_a_missing_endpoint(server: ScriptedServer, session: Session) -> None:
    server.usual["workers.get_runtime_properties"] = fault(404, 0, "Unable to find endpoint")
    with pytest.raises(EndpointMissing, match=r"has no workers\.get_runtime_properties: Unable to find endpoint"):
        session.call("workers.get_runtime_properties")


def test_an_invalid_request_keeps_the_servers_words(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["tasks.started"] = fault(400, 110, "Task  cannot be\nstarted")
    with pytest.raises(InvalidRequest) as caught:
        session.call("tasks.started")
    error = caught.value
    assert (error.endpoint, error.status, error.subcode) == ("tasks.started", 400, 110)
    assert error.server_message == "Task cannot be started"
    assert error.is_about(Subcode.STATUS_FORBIDS)
    assert not error.is_about(Subcode.NO_SUCH_TASK)
    assert str(error) == "tasks.started was refused: Task cannot be started (code 400/110)"
    assert time.waits == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (page(200), "HTTP 200, text/html"),
        (page(404), "HTTP 404, text/html"),
        (page(301, Location="https://user:pass@api.example.com/x"), "sends us to https://api.example.com;"),
        (lambda handler: handler.reply(200, b'{"meta": '), "HTTP 200, application/json"),
        (lambda handler: handler.reply(200, b"[1]"), "HTTP 200, application/json"),
        (lambda handler: handler.reply(200, b'{"meta": {"result_code": "200"}}'), "application/json"),
        (lambda handler: handler.reply(200, b"[" * 100_000), "application/json"),
        (lambda handler: handler.reply(200, b""), "application/json"),
    ],
)
def test_something_else_answers(
    server: ScriptedServer, session: Session, answer: Callable[[Any], None], words: str, time: Time
) -> None:
    server.usual["auth.login"] = answer
    with pytest.raises(NotClearML) as caught:
        session.login()
    assert words in str(caught.value)
    assert "user" not in str(caught.value)
    assert time.waits == []


def test_a_request_that_is_too_large_for_the_proxy(server: ScriptedServer, session: Session) -> None:
    server.usual["events.add_batch"] = page(413)
    with pytest.raises(InvalidRequest, match="max_req_size"):
        session.call("events.add_batch")


@pytest.mark.parametrize("data", [None, [], 1, "x"])
def test_data_of_another_kind_is_no_data(server: ScriptedServer, session: Session, data: object) -> None:
    server.usual["tasks.ping"] = lambda handler: handler.reply(
        200, json.dumps({"meta": {"result_code": 200}, "data": data}).encode()
    )
    assert session.call("tasks.ping") == {}
