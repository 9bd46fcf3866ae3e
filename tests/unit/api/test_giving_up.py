"""Calls that are given up while the server holds them."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from clearml_agent_clone.api.access import ONCE, Timeout
from clearml_agent_clone.api.errors import (
    ServerUnreachable,
)
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.errors import Cancelled

from .conftest import (
    ScriptedServer,
    SessionMaker,
    hold,
    ok,
)


def _held(session: Session, server: ScriptedServer) -> tuple[threading.Thread, list[BaseException], threading.Event]:
    begun, until = threading.Event(), threading.Event()
    server.will("queues.get_next_task", hold(begun, until))
    errors: list[BaseException] = []

    def wait() -> None:
        try:
            session.call("queues.get_next_task", {"wait": 60}, timeout=Timeout(5, 70), interruptible=True)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    assert begun.wait(5)
    return thread, errors, until


def test_interrupt_gives_up_a_held_call_at_once(server: ScriptedServer, session: Session) -> None:
    session.login()
    thread, errors, until = _held(session, server)
    session.interrupt()
    thread.join(0.3)
    assert not thread.is_alive()
    until.set()
    assert [type(error) for error in errors] == [Cancelled]
    session.call("tasks.ping")  # the session is as good as before


def test_stop_gives_up_a_held_call_at_once(server: ScriptedServer, new_session: SessionMaker) -> None:
    stop = threading.Event()
    session = new_session(stop=stop)
    thread, errors, until = _held(session, server)
    stop.set()
    thread.join(0.3)
    assert not thread.is_alive()
    until.set()
    assert [type(error) for error in errors] == [Cancelled]
    with pytest.raises(Cancelled):
        session.call("queues.get_next_task", interruptible=True)
    assert len(server.calls("queues.get_next_task")) == 1
    session.call("workers.unregister", {"worker": "w"})  # a stopping agent still says goodbye


def test_stop_gives_up_what_hangs_soon_and_lets_what_follows_through(
    server: ScriptedServer, new_session: SessionMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearml_agent_clone.api.session._STOP_GRACE", 0.2)
    stop, begun, until = threading.Event(), threading.Event(), threading.Event()
    session = new_session(stop=stop)
    server.will("tasks.started", hold(begun, until))
    failed: list[ServerUnreachable] = []

    def start() -> None:
        with pytest.raises(ServerUnreachable) as caught:
            session.call("tasks.started", retry=ONCE)
        failed.append(caught.value)

    thread = threading.Thread(target=start)
    thread.start()
    assert begun.wait(10)
    stop.set()
    thread.join(5)
    until.set()
    assert failed[0].may_have_acted
    session.call("tasks.stopped", retry=ONCE)  # goodbye
    assert len(server.calls("tasks.stopped")) == 1


def test_a_socket_that_serves_another_call_again_is_out_of_reach() -> None:
    from clearml_agent_clone.api.exchange import Exchange

    ours, theirs = socket.socketpair()
    exchange = Exchange()
    exchange.attach(ours)
    exchange.detach()
    exchange.abandon()
    theirs.sendall(b"x")
    assert ours.recv(1) == b"x"
    exchange.attach(ours)
    assert ours.recv(1) == b""
    ours.close()
    theirs.close()


def test_interrupt_leaves_other_calls_alone(server: ScriptedServer, session: Session) -> None:
    session.login()
    begun, until = threading.Event(), threading.Event()
    server.will("tasks.completed", hold(begun, until, ok(updated=1)))
    answers: list[dict[str, Any]] = []
    other = threading.Thread(target=lambda: answers.append(session.call("tasks.completed")))
    other.start()
    assert begun.wait(5)
    thread, _, held = _held(session, server)
    session.interrupt()
    thread.join(0.3)
    assert not thread.is_alive()
    until.set()
    held.set()
    other.join(5)
    assert answers == [{"updated": 1}]
