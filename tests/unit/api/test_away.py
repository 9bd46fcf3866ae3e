"""Sessions whose server is away, answers wrongly or refuses them for a while."""

from __future__ import annotations

import base64
import random
import socket
import threading
import time as real_time
from typing import Any

import pytest

from clearml_agent_clone.api.access import ONCE, Retry, ServerAccess
from clearml_agent_clone.api.errors import CredentialsRefused, NotClearML, ServerBusy, ServerUnreachable
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.errors import Cancelled

from .conftest import ScriptedServer, SessionMaker, Time, fault, ok, page


@pytest.fixture
def real(server: ScriptedServer) -> Session:
    """With clocks and pauses of this world."""
    return Session(ServerAccess(server.url, "KEY", "SECRET"), rng=random.Random(1))


def test_the_others_are_told_without_a_request(server: ScriptedServer, real: Session) -> None:
    server.usual["tasks.ping"] = fault(503)
    with pytest.raises(ServerBusy) as first:
        real.call("tasks.ping", retry=ONCE)
    assert first.value.told
    assert first.value.again_in is not None
    for endpoint in ("tasks.ping", "events.add_batch", "queues.get_next_task"):
        with pytest.raises(ServerBusy) as caught:
            real.call(endpoint, retry=ONCE, interruptible=endpoint.startswith("queues"))
        assert not caught.value.may_have_acted
        assert caught.value.told
    assert [seen.endpoint for seen in server.seen] == ["auth.login", "tasks.ping"]


def test_the_first_answer_wakes_whoever_waits(server: ScriptedServer, real: Session) -> None:
    server.will("tasks.completed", fault(503))
    done = threading.Event()

    def complete() -> None:
        real.call("tasks.completed", retry=Retry(base=60.0, cap=60.0))
        done.set()

    thread = threading.Thread(target=complete)
    thread.start()
    while not real.outage.is_away:
        real_time.sleep(0.01)
    real.outage.worked("tasks.get_all")  # another thread's answer
    assert done.wait(5)
    thread.join()


def test_before_a_call_that_is_held_something_short_is_asked(server: ScriptedServer, session: Session) -> None:
    server.will("queues.get_next_task", fault(503))
    with pytest.raises(ServerBusy):
        session.call("queues.get_next_task", retry=ONCE, interruptible=True)
    server.will("auth.login", fault(503))
    with pytest.raises(ServerBusy):
        session.call("queues.get_next_task", retry=ONCE, interruptible=True)
    session.call("queues.get_next_task", retry=ONCE, interruptible=True)
    session.call("queues.get_next_task", retry=ONCE, interruptible=True)
    short = [seen.endpoint.partition(".")[0] for seen in server.seen]
    assert short == ["auth", "queues", "auth", "auth", "queues", "queues"]


def test_a_call_that_is_given_up_says_nothing_about_the_server(
    server: ScriptedServer, new_session: SessionMaker
) -> None:
    stop = threading.Event()
    session = new_session(stop=stop)
    session.login()
    stop.set()
    with pytest.raises(Cancelled):
        session.call("queues.get_next_task", interruptible=True)
    assert not session.outage.is_away


@pytest.mark.parametrize(
    "answer",
    [
        page(200),
        page(404),
        page(302, Location="http://login.example.com/"),
        page(403),
        lambda handler: handler.reply(200, b'{"meta": '),
        lambda handler: handler.reply(200, b'{"status": "ok"}'),
    ],
)
def test_a_wrong_answer_of_a_server_that_was_right_before_is_an_outage(
    server: ScriptedServer, session: Session, time: Time, answer: Any
) -> None:
    session.login()
    server.will("tasks.completed", answer, answer)
    session.call("tasks.completed")
    assert len(time.waits) == 2
    server.will("events.add_batch", answer)
    with pytest.raises(ServerUnreachable) as caught:
        session.send_lines("events.add_batch", [b"{}"])
    assert caught.value.code == "wrong-answer"
    assert caught.value.may_have_acted


@pytest.mark.parametrize("known", [True, False])
def test_at_the_first_login_it_is_a_wrong_address_unless_somebody_knows_better(
    server: ScriptedServer, known: bool
) -> None:
    server.usual["auth.login"] = page(200)
    error = ServerUnreachable if known else NotClearML
    with Session(ServerAccess(server.url, "KEY", "SECRET"), known=known) as session, pytest.raises(error):
        session.login(retry=ONCE)


@pytest.mark.parametrize("answer", [fault(500), fault(401, 22, "unknown key")], ids=["500", "refused"])
def test_what_must_arrive_waits_until_somebody_has_mended_it(
    server: ScriptedServer, session: Session, time: Time, answer: Any
) -> None:
    server.will("auth.login", *[answer] * 20)
    session.call("tasks.completed", retry=Retry.forever())
    assert len(time.waits) == 20
    assert max(time.waits) <= 45.0


def test_patience_of_the_ordinary_kind_ends_with_refused_credentials(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    server.usual["auth.login"] = fault(401, 22, "unknown key")
    with pytest.raises(CredentialsRefused):
        session.call("tasks.completed")
    assert time.waits == []


def test_refused_credentials_are_looked_up_again(server: ScriptedServer) -> None:
    fresh = [ServerAccess(server.url, "KEY", "SECRET"), None, ServerAccess(server.url, "OTHER", "PAIR")]
    session = Session(
        ServerAccess(server.url, "KEY", "SECRET"), reload=lambda: fresh.pop(0), wait=lambda seconds: False
    )
    server.will("auth.login", *[fault(401, 22, "unknown key")] * 3)
    for _ in range(2):  # unchanged, and unreadable
        with pytest.raises(CredentialsRefused):
            session.login(retry=ONCE)
        session.outage.gave_up()
    session.login(retry=ONCE)
    used = [base64.b64decode(seen.headers["authorization"].split()[1]) for seen in server.seen]
    assert used == [b"KEY:SECRET"] * 3 + [b"OTHER:PAIR"]
    session.close()


def test_a_name_that_cannot_be_resolved_for_a_while(
    server: ScriptedServer, session: Session, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.login()
    server.close_all()
    resolve, failures = socket.getaddrinfo, [3]

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        if failures[0]:
            failures[0] -= 1
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return resolve(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    server.will("tasks.completed", ok())
    session.call("tasks.completed")
    assert failures == [0]
    assert len(time.waits) == 3


def test_a_long_pause_that_is_asked_for_has_an_end(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("tasks.ping", fault(429, headers={"Retry-After": "86400"}))
    with pytest.raises(ServerBusy) as caught:
        session.call("tasks.ping")
    assert caught.value.retry_after == 600.0
