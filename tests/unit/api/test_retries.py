"""What is sent again, after which pause, and what is not."""

from __future__ import annotations

import threading

import pytest

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.errors import (
    ServerBusy,
    ServerUnreachable,
)
from clearml_agent_clone.api.session import Session

from .conftest import (
    ScriptedServer,
    SessionMaker,
    Time,
    fault,
    hang_up,
    ok,
    page,
)


@pytest.mark.parametrize("status", [429, 502, 503, 504, 509])
def test_what_passes_is_repeated(server: ScriptedServer, session: Session, time: Time, status: int) -> None:
    server.will("tasks.started", fault(status), page(status), ok(updated=1))
    assert session.call("tasks.started") == {"updated": 1}
    assert len(time.waits) == 2
    assert 0 <= time.waits[0] <= 0.5
    assert 0 <= time.waits[1] <= 1.0


@pytest.mark.parametrize("status", [500, 501])
def test_a_broken_server_is_not_asked_again(server: ScriptedServer, session: Session, time: Time, status: int) -> None:
    server.usual["tasks.started"] = fault(status, 100, "data error")
    with pytest.raises(ServerBusy, match=f"HTTP {status}: data error"):
        session.call("tasks.started")
    assert time.waits == []


def test_retries_end(server: ScriptedServer, new_session: SessionMaker, time: Time) -> None:
    server.usual["tasks.ping"] = fault(503, message="later")
    with pytest.raises(ServerBusy, match="later"):
        new_session(retry=Retry(attempts=5)).call("tasks.ping")
    assert len(server.calls("tasks.ping")) == 5
    assert len(time.waits) == 4


def test_retries_end_when_their_time_is_over(server: ScriptedServer, new_session: SessionMaker, time: Time) -> None:
    server.usual["tasks.ping"] = fault(503, headers={"Retry-After": "20"})
    with pytest.raises(ServerBusy):
        new_session(retry=Retry(attempts=1000, total=70.0)).call("tasks.ping")
    assert len(time.waits) == 3


def test_the_server_may_ask_for_a_pause(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("tasks.ping", fault(503, headers={"Retry-After": "7"}))
    session.call("tasks.ping")
    assert 7.0 <= time.waits[0] <= 8.0


@pytest.mark.parametrize(
    ("value", "pauses"), [("Wed, 21 Oct 2015 07:28:00 GMT", True), ("soon", False), ("99999999", None)]
)
def test_a_pause_as_a_date_or_as_nonsense(
    server: ScriptedServer, session: Session, time: Time, value: str, pauses: bool | None
) -> None:
    server.will("tasks.ping", fault(503, headers={"Retry-After": value}))
    if pauses is None:
        with pytest.raises(ServerBusy):
            session.call("tasks.ping")
    else:
        session.call("tasks.ping")
        assert time.waits[0] <= 1.0


def test_stop_ends_the_retries_with_their_error(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["tasks.ping"] = fault(503, message="busy")
    time.stop_at = 2
    with pytest.raises(ServerBusy, match="busy"):
        session.call("tasks.ping")
    assert len(server.calls("tasks.ping")) == 2


def test_stop_interrupts_a_pause_that_has_begun(server: ScriptedServer) -> None:
    from clearml_agent_clone.api.access import ServerAccess

    stop = threading.Event()
    server.usual["auth.login"] = fault(503, headers={"Retry-After": "60"})
    with Session(ServerAccess(server.url, "K", "S"), stop=stop) as session:
        threading.Timer(0.05, stop.set).start()
        with pytest.raises(ServerBusy):
            session.login()


def test_one_time_calls_are_not_repeated_when_the_server_may_have_acted(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    session.login()
    for endpoint in ("tasks.clone", "tasks.create", "queues.get_next_task"):
        for answer in (hang_up, fault(502), fault(504)):
            server.close_all()
            server.will(endpoint, answer)
            with pytest.raises((ServerUnreachable, ServerBusy)) as caught:
                session.call(endpoint)
            assert isinstance(caught.value, ServerUnreachable | ServerBusy)
            assert caught.value.may_have_acted
    assert time.waits == []


def test_one_time_calls_are_repeated_when_it_has_not(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("tasks.clone", fault(503), fault(429), ok(id="1"))
    assert session.call("tasks.clone") == {"id": "1"}
    assert len(time.waits) == 2


def test_a_login_that_fails_does_not_make_a_call_ambiguous(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    server.will("auth.login", hang_up, fault(504))
    session.call("tasks.clone")
    assert len(server.calls("auth.login")) == 3
    assert len(server.calls("tasks.clone")) == 1


def test_a_one_time_call_can_be_declared_repeatable(server: ScriptedServer, session: Session) -> None:
    server.will("queues.get_next_task", hang_up, ok(entry={"task": "1"}))
    assert session.call("queues.get_next_task", {"claim": "c"}, repeatable=True) == {"entry": {"task": "1"}}


def test_a_first_login_has_less_patience_than_a_call(server: ScriptedServer, session: Session, time: Time) -> None:
    server.usual["auth.login"] = fault(503)
    for use, waits in ((session.login, 4), (lambda: session.server, 7), (lambda: session.token, 7)):
        time.waits.clear()
        with pytest.raises(ServerBusy):
            use()
        assert len(time.waits) == waits
