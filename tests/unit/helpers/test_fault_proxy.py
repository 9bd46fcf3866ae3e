"""The proxy that other tests trust: what it passes on is unchanged, and each fault is what it says."""

from __future__ import annotations

import gzip
import http.client
import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.helpers.fault_proxy import Call, Fault, FaultProxy


class _Echo(BaseHTTPRequestHandler):
    """Answers with what it was asked; ``hold`` is answered only when the event is set, ``big`` with 3 MB."""

    protocol_version = "HTTP/1.1"
    server: Upstream

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(self.path)
        if self.path == "/hold":
            while not self.server.release.wait(0.01):
                if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                    self.server.left.set()
                    self.close_connection = True
                    return
        content = b"x" * 3_000_000 if self.path == "/big" else json.dumps([self.command, self.path]).encode() + body
        self.send_response(200)
        self.send_header("X-Own", "yes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the inherited name
        pass


class Upstream(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Echo)
        self.seen: list[str] = []
        self.release = threading.Event()
        self.left = threading.Event()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.release.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(upstream: Upstream) -> Iterator[FaultProxy]:
    with FaultProxy(f"http://127.0.0.1:{upstream.server_address[1]}") as running:
        yield running


class _Client:
    """One connection, kept as long as it lasts."""

    def __init__(self, proxy: FaultProxy, patience: float = 5.0) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", int(proxy.url.rpartition(":")[2]), timeout=patience)

    def ask(self, path: str, body: Any = b"{}", method: str = "POST", **headers: str) -> tuple[int, bytes]:
        self.connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def loses(self, path: str) -> type[BaseException]:
        """The error of a request that must get no whole answer."""
        with pytest.raises((OSError, http.client.HTTPException)) as caught:
            self.ask(path)
        self.connection.close()
        return caught.type


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[_Client]:
    made = _Client(proxy)
    yield made
    made.connection.close()


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_passes_on_what_it_gets(proxy: FaultProxy, client: _Client, method: str) -> None:
    assert client.ask("/v2.13/tasks.get_all?x=1", b'{"id": 1}', method) == (
        200,
        json.dumps([method, "/v2.13/tasks.get_all?x=1"]).encode() + b'{"id": 1}',
    )
    (call,) = proxy.calls
    assert (call.endpoint, call.body, call.number, call.status, call.fault) == (
        "tasks.get_all",
        {"id": 1},
        1,
        200,
        None,
    )
    assert abs(call.at - time.time()) < 5


def test_bodies_in_pieces_compressed_or_of_lines(proxy: FaultProxy, client: _Client) -> None:
    assert client.ask("/a", iter([b'{"a"', b": 1}"]))[1].endswith(b'{"a": 1}')
    client.ask("/b", gzip.compress(b'{"b": 2}'), Content_Encoding="gzip")
    client.ask("/c", b'{"c": 3}\n{"d": 4}\n')
    client.ask("/d", b"\xff\n")
    client.ask("/e", b"")
    assert [call.body for call in proxy.calls] == [{"a": 1}, {"b": 2}, [{"c": 3}, {"d": 4}], b"\xff\n", None]


def test_keeps_the_connection_and_carries_much(proxy: FaultProxy, client: _Client) -> None:
    for _ in range(3):
        assert len(client.ask("/big")[1]) == 3_000_000
    assert proxy.connections == 1


@pytest.mark.parametrize(
    ("fault", "reaches"),
    [
        (Fault.REFUSE, False),
        (Fault.LOSE_REQUEST, False),
        (Fault.LOSE_REPLY, True),
        (Fault.HALF_REPLY, True),
        (Fault.run(lambda call: None, "before"), False),
        (Fault.run(lambda call: None, "after"), True),
    ],
)
def test_cuts(proxy: FaultProxy, upstream: Upstream, client: _Client, fault: Fault, reaches: bool) -> None:
    proxy.on("a", fault)
    client.loses("/a")
    assert upstream.seen == (["/a"] if reaches else [])
    call = proxy.wait_for("a")
    assert (call.fault, call.status, call.forwarded) == (fault, None, reaches)
    assert client.ask("/a")[0] == 200


def test_a_refusal_is_a_reset_and_half_a_reply_is_begun(proxy: FaultProxy, client: _Client) -> None:
    proxy.on("a", Fault.REFUSE)
    assert issubclass(client.loses("/a"), ConnectionResetError)
    proxy.on("a", Fault.HALF_REPLY)
    assert client.loses("/a") is http.client.IncompleteRead


def test_rules_count_skip_and_end(proxy: FaultProxy, client: _Client) -> None:
    first = proxy.on("tasks.*", Fault.status(503), times=2, skip=1)
    always = proxy.on(lambda call: call.body == {"a": 1}, Fault.status(429, "wait", Retry_After="7"), times=None)
    assert [client.ask("/tasks.x")[0] for _ in range(4)] == [200, 503, 503, 200]
    assert first.hits == 2
    assert [client.ask("/b", b'{"a": 1}')[0] for _ in range(3)] == [429, 429, 429]
    always.cancel()
    assert client.ask("/b", b'{"a": 1}')[0] == 200
    proxy.on("*", Fault.GARBAGE, times=None)
    assert b"hotel" in client.ask("/b")[1]
    proxy.clear()
    assert client.ask("/b")[0] == 200
    assert [call.number for call in proxy.of("b")] == [1, 2, 3, 4, 5, 6]


def test_answers_carry_their_headers(proxy: FaultProxy, client: _Client) -> None:
    proxy.on("a", Fault.status(429, Retry_After="7"))
    client.connection.request("POST", "/a", b"{}")
    answer = client.connection.getresponse()
    assert (answer.status, answer.headers["Retry-After"], answer.read()) == (429, "7", b"")
    proxy.on("a", Fault.UNAUTHORIZED)
    status, body = client.ask("/a")
    assert (status, json.loads(body)["meta"]["result_subcode"]) == (401, 30)


def test_slow(proxy: FaultProxy, client: _Client) -> None:
    proxy.on("a", Fault.slow(0.2))
    begin = time.monotonic()
    assert client.ask("/a")[0] == 200
    assert time.monotonic() - begin >= 0.2


def test_a_black_hole_holds_until_it_is_cleared_or_the_client_leaves(
    proxy: FaultProxy, upstream: Upstream, client: _Client
) -> None:
    proxy.on("a", Fault.BLACK_HOLE, times=None)
    assert issubclass(_Client(proxy, 0.1).loses("/a"), TimeoutError)

    def let_go() -> None:
        proxy.wait_for("a", 2)
        proxy.clear()

    helper = threading.Thread(target=let_go)
    helper.start()
    client.loses("/a")
    helper.join()
    assert upstream.seen == []
    assert client.ask("/a")[0] == 200


def test_an_action_sees_the_call_and_may_let_it_pass(proxy: FaultProxy, upstream: Upstream, client: _Client) -> None:
    seen: list[tuple[Call, int]] = []
    for when in ("before", "after"):
        action = Fault.run(lambda call: seen.append((call, len(upstream.seen))), when, cut=False)
        proxy.on("a", action)
        assert client.ask("/a")[0] == 200
    assert [(call.number, reached) for call, reached in seen] == [(1, 0), (2, 2)]


def test_a_client_that_leaves_is_gone_for_the_server_too(proxy: FaultProxy, upstream: Upstream) -> None:
    assert issubclass(_Client(proxy, 0.2).loses("/hold"), TimeoutError)
    assert upstream.left.wait(5)


def test_down_refuses_and_cuts_and_up_is_the_same_port(proxy: FaultProxy, client: _Client) -> None:
    client.ask("/a")
    url = proxy.url
    proxy.down()
    client.loses("/a")
    assert client.loses("/a") is ConnectionRefusedError
    proxy.up()
    assert proxy.url == url
    assert client.ask("/a")[0] == 200
    proxy.cut()
    client.loses("/a")
    assert client.ask("/a")[0] == 200


def test_a_server_that_is_gone_looks_gone(proxy: FaultProxy, client: _Client) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy.target = ("127.0.0.1", unused.getsockname()[1])
        client.loses("/a")
    assert proxy.wait_for("a").status is None


def test_waiting_says_what_came_instead(proxy: FaultProxy, client: _Client) -> None:
    client.ask("/a")
    assert proxy.wait_for("a").number == 1
    with pytest.raises(AssertionError, match=r"0 of 1 calls of b within 0\.01 s; seen: a x1"):
        proxy.wait_for("b", timeout=0.01)
