"""Tokens that expire, are refused or never end, and credentials that are replaced."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clearml_agent_clone.api.errors import (
    CredentialsRefused,
)
from clearml_agent_clone.api.session import Session

from .conftest import (
    START,
    ScriptedServer,
    SessionMaker,
    Time,
    fault,
    login,
    ok,
    token,
)


def test_a_401_is_answered_with_one_login_and_the_call_again(server: ScriptedServer, session: Session) -> None:
    server.will("tasks.ping", fault(401, 30, "expired"))
    session.call("tasks.ping")
    assert [seen.endpoint for seen in server.seen] == ["auth.login", "tasks.ping", "auth.login", "tasks.ping"]


def test_a_second_401_is_an_error(server: ScriptedServer, session: Session) -> None:
    server.usual["tasks.ping"] = fault(401, 30, "revoked")
    with pytest.raises(CredentialsRefused, match=r"does not accept the key pair: revoked \(code 401/30\)"):
        session.call("tasks.ping")
    assert len(server.seen) == 4


def test_threads_that_meet_a_401_together_log_in_once(server: ScriptedServer, new_session: SessionMaker) -> None:
    session = new_session()
    session.login()
    old, new = token(), token(jti="new")
    server.usual["auth.login"] = ok(token=new)
    together = threading.Barrier(6)

    def refuse_the_old(handler: Any) -> None:
        if handler.headers["Authorization"] == f"Bearer {old}":
            together.wait(10)  # all six have been sent with the old token before the first is refused
            fault(401, 30)(handler)
        else:
            ok()(handler)

    server.usual["tasks.ping"] = refuse_the_old
    threads = [threading.Thread(target=session.call, args=("tasks.ping",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.calls("auth.login")) == 2
    assert len(server.calls("tasks.ping")) == 12


def test_a_token_is_renewed_before_its_end(server: ScriptedServer, session: Session, time: Time) -> None:
    session.call("tasks.ping")
    time.now = START + 29 * 86400
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1
    time.now = START + 29.5 * 86400
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 2


def test_short_tokens_do_not_cause_a_login_per_call(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["auth.login"] = login(3600)
    for minute in range(0, 29, 2):
        time.now = START + minute * 60
        session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1
    time.now = START + 1800
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 2


def test_the_servers_clock_may_differ(server: ScriptedServer, session: Session, time: Time) -> None:
    time.now = START + 40 * 86400
    session.call("tasks.ping")
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1


def test_a_renewal_that_fails_lets_the_old_token_go_on(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("auth.login", login(3600), fault(503), fault(401, 22))
    session.call("tasks.ping")
    time.now = START + 2000
    session.call("tasks.ping")
    session.call("tasks.ping")
    time.now = START + 2061
    session.call("tasks.ping")
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 3
    assert len(server.calls("tasks.ping")) == 5
    assert time.waits == []


def test_a_token_that_never_ends_is_not_renewed(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["auth.login"] = login(None)
    session.call("tasks.ping")
    time.now += 1e9
    session.call("tasks.ping")
    assert len(server.calls("auth.login")) == 1


def test_login_with_a_token_renews_it_with_itself(server: ScriptedServer, new_session: SessionMaker) -> None:
    session = new_session(token="given", access_key="", secret_key="")
    server.will("tasks.ping", fault(401, 30))
    session.call("tasks.ping")
    sent = [seen.headers["authorization"] for seen in server.seen]
    assert sent == ["Bearer given", f"Bearer {token()}", f"Bearer {token()}", f"Bearer {token()}"]
    assert session.token == token()


def test_the_lifetime_asked_for(server: ScriptedServer, new_session: SessionMaker) -> None:
    new_session(requested_lifetime=600).login()
    assert server.seen[0].json == {"expiration_sec": 600}
