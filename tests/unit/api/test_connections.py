"""Connections that are kept, dropped, shared and slow."""

from __future__ import annotations

import gzip
import json
import threading
from typing import Any

import pytest

from clearml_agent_clone.api.access import ONCE, Timeout
from clearml_agent_clone.api.errors import (
    ServerUnreachable,
)
from clearml_agent_clone.api.session import Session

from .conftest import (
    ScriptedServer,
    Time,
    envelope,
    hang_up,
    hold,
    ok,
    raw,
)


def test_a_kept_connection_that_the_server_drops_is_replaced(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    session.call("tasks.ping")
    server.will("tasks.ping", hang_up)  # as if it closed the idle connection while the request was under way
    session.call("tasks.ping")
    assert time.waits == []
    assert [seen.connection for seen in server.calls("tasks.ping")] == [1, 1, 2]


def test_a_kept_connection_that_was_closed_before_is_replaced(
    server: ScriptedServer, session: Session, time: Time
) -> None:
    session.call("tasks.ping")
    server.close_all()
    session.call("tasks.ping")
    assert time.waits == []
    assert [seen.connection for seen in server.calls("tasks.ping")] == [1, 2]


def test_a_new_connection_that_is_dropped_is_a_failure(server: ScriptedServer, session: Session, time: Time) -> None:
    server.will("auth.login", hang_up, hang_up)
    session.login()
    assert len(time.waits) == 2


def test_a_dropped_connection_stays_in_doubt_when_no_new_one_comes(server: ScriptedServer, session: Session) -> None:
    def die(handler: Any) -> None:
        server.shutdown()
        server.server_close()
        hang_up(handler)

    session.call("tasks.ping")
    server.will("tasks.ping", die)
    with pytest.raises(ServerUnreachable) as caught:
        session.call("tasks.ping", retry=ONCE)
    assert caught.value.code == "connection-refused"
    assert caught.value.may_have_acted  # the first sending may have got through


def test_adding_calls_use_a_connection_of_their_own(server: ScriptedServer, session: Session) -> None:
    session.call("tasks.ping")
    session.call("tasks.clone")
    session.call("tasks.ping")
    assert [seen.connection for seen in server.seen] == [1, 1, 2, 1]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n" + envelope(200),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n400\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200",
        b"\x00\xff\xfe rubbish\r\n\r\n",
    ],
)
def test_a_broken_answer_is_repeated(server: ScriptedServer, session: Session, time: Time, answer: bytes) -> None:
    server.will("tasks.ping", raw(answer), raw(answer), ok(done=1))
    assert session.call("tasks.ping") == {"done": 1}
    assert len(time.waits) == 2
    server.usual["tasks.ping"] = raw(answer)
    with pytest.raises(ServerUnreachable) as caught:
        session.call("tasks.ping", retry=ONCE)
    assert caught.value.code == "connection-lost"
    assert caught.value.may_have_acted


def test_a_huge_answer_arrives_whole(server: ScriptedServer, session: Session) -> None:
    text = "x" * 20_000_000
    server.will("tasks.get_by_id", ok(diff=text))
    assert session.call("tasks.get_by_id")["diff"] == text


def test_an_endless_answer_is_given_up(
    server: ScriptedServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearml_agent_clone.api.transport._LARGEST_ANSWER", 1_000_000)

    def endless(handler: Any) -> None:
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            handler.wfile.write(b"x" * 65536)

    server.will("tasks.ping", endless)
    with pytest.raises(ServerUnreachable, match="larger than 1000000 bytes"):
        session.call("tasks.ping", retry=ONCE)


def test_a_compressed_answer_is_read(server: ScriptedServer, session: Session) -> None:
    body = gzip.compress(envelope(200, {"a": 1}))
    server.will("tasks.ping", lambda handler: handler.reply(200, body, {"Content-Encoding": "gzip"}))
    assert session.call("tasks.ping") == {"a": 1}
    assert "gzip" in server.seen[-1].headers["accept-encoding"]


def test_a_slow_answer_times_out(server: ScriptedServer, session: Session) -> None:
    begun, until = threading.Event(), threading.Event()
    server.will("tasks.ping", hold(begun, until))
    session.login()
    with pytest.raises(ServerUnreachable, match=r"did not answer within 0\.05 s") as caught:
        session.call("tasks.ping", timeout=Timeout(1, 0.05), retry=ONCE)
    until.set()
    assert caught.value.code == "read-timeout"


def test_threads_share_the_connections(server: ScriptedServer, session: Session) -> None:
    session.login()
    results: list[dict[str, Any]] = []

    def work(number: int) -> None:
        results.extend(session.call("debug.echo", {"number": number}) for _ in range(20))

    server.usual["debug.echo"] = lambda handler: handler.reply(200, envelope(200, json.loads(handler.body)))
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result["number"] for result in results) == sorted(list(range(4)) * 20)
    assert server.connections <= 4
