"""A real HTTP proxy between agent and server that makes things go wrong.

    with FaultProxy(server.api_url) as proxy:     # proxy.url goes into the agent's configuration
        proxy.on("tasks.started", Fault.LOSE_REPLY)              # the first such call
        proxy.on("tasks.*", Fault.status(503), times=3, skip=1)  # the second to fourth of these
        proxy.on(lambda call: call.body["status"] == "x", Fault.REFUSE, times=None)    # all of them, until cleared
        proxy.on("workers.status_report", Fault.run(lambda call: os.kill(pid, 9), "before"))
        ...
        call = proxy.wait_for("tasks.completed")  # call.body, call.status, call.fault, call.number, call.at
        proxy.clear()                             # no faults any more; black holes let go
        proxy.down(); proxy.up()                  # the port itself is closed, kept connections are cut
        proxy.cut()                               # kept connections are cut, as by a restarted server

The first rule that takes a call decides. What no rule takes is passed on unchanged: GET, POST and PUT, chunked and
compressed bodies, kept connections, long polls. A client that leaves while the server still thinks makes the proxy
leave the server as well, so that the server sees what it would see without a proxy.

``Fault`` (``faults.py``): REFUSE, LOSE_REQUEST, LOSE_REPLY, HALF_REPLY, BLACK_HOLE, GARBAGE, BROKEN_JSON, UNAUTHORIZED,
BAD_CREDENTIALS, and ``slow(seconds)``, ``status(code, body, Retry_After="5")``, ``garbage(body)``,
``refusal(code, subcode, message)``, ``run(action, "before" | "after", cut=True)``.

A call is matched when its request has been read, as its endpoint is not known earlier. Only ``down`` refuses
connections; a REFUSE cuts the connection with a reset, of which the client cannot tell whether its request was read.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, final
from urllib.parse import urlsplit

import attrs

from tests.helpers.faults import Call, Fault, Kind, Match, Rule, matches, parsed

__all__ = ["Call", "Fault", "FaultProxy", "Rule"]

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection", "host"})
_LOOK = 0.05
_LONGEST_POLL = 300.0


@final
class FaultProxy:
    """See above. ``target`` is the server's URL; with ``tls`` the proxy's own URL is an ``https`` one."""

    def __init__(self, target: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(target)
        assert parts.hostname is not None
        self.target = (parts.hostname, parts.port or 80)
        self.tls = tls
        """May be replaced: connections made from then on see the other certificate."""
        self.connections = 0
        """Connections that were accepted."""
        self._port = 0
        self._changed = threading.Condition()
        self._calls: list[Call] = []
        self._numbers: Counter[str] = Counter()
        self._rules: list[Rule] = []
        self._open: set[socket.socket] = set()
        self._released = threading.Event()
        self._listener: _Listener | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> FaultProxy:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self.down()

    @property
    def url(self) -> str:
        return f"http{'' if self.tls is None else 's'}://127.0.0.1:{self._port}"

    # faults

    def on(self, match: Match, fault: Fault, times: int | None = 1, skip: int = 0) -> Rule:
        """Apply ``fault`` to ``times`` calls (None: to all from then on) after ``skip`` that match.

        ``match`` is an endpoint, a pattern such as ``tasks.*``, or a predicate over the call.
        """
        rule = Rule(match, fault, times, skip)
        with self._changed:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Forget all rules, cut what hangs in a black hole, and end the pauses of slow calls."""
        with self._changed:
            self._rules.clear()
            released, self._released = self._released, threading.Event()
        released.set()

    def down(self) -> None:
        """Close the port, so that connections are refused, and cut those that are open."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.shutdown()
            listener.server_close()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self.cut()

    def up(self) -> None:
        """Listen again, on the same port."""
        assert self._listener is None, "it is up"
        self._listener = _Listener(self, self._port)
        self._port = int(self._listener.server_address[1])
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(_LOOK,), daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut every open connection."""
        with self._changed:
            doomed = list(self._open)
        for connection in doomed:
            with contextlib.suppress(OSError):  # it is gone already
                connection.shutdown(socket.SHUT_RDWR)

    # what was seen

    @property
    def calls(self) -> list[Call]:
        """All calls so far, in the order of their arrival."""
        with self._changed:
            return list(self._calls)

    def of(self, match: Match) -> list[Call]:
        """Those of them that match."""
        return [call for call in self.calls if matches(match, call)]

    def wait_for(self, match: Match, count: int = 1, timeout: float = 30.0) -> Call:
        """Wait until ``count`` matching calls are done (also by a fault), counted from the start; returns the last."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [call for call in self._calls if call.done and matches(match, call)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = ", ".join(f"{name} x{number}" for name, number in self._numbers.items())
                    raise AssertionError(f"{len(found)} of {count} calls of {match} within {timeout:g} s; seen: {seen}")
                self._changed.wait(left)

    # for the handlers

    def register(self, call: Call) -> Fault | None:
        """Record a call that came; what is to be done to it."""
        with self._changed:
            self._numbers[call.endpoint] += 1
            call.number = self._numbers[call.endpoint]
            self._calls.append(call)
            rule = next((rule for rule in self._rules if rule.takes(call)), None)
            call.fault = rule.fault if rule else None
            return call.fault

    def settle(self, call: Call) -> None:
        """Nothing more happens to this call."""
        with self._changed:
            call.done = True
            self._changed.notify_all()

    @property
    def released(self) -> threading.Event:
        """Set when the faults that hold a call should let go."""
        with self._changed:
            return self._released

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self.connections += 1
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, proxy: FaultProxy, port: int) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", port), _Relay)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        tls = self.proxy.tls
        if tls is not None:  # the handshake is made by the first read, in the connection's own thread
            connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        self.proxy.opened(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.proxy.closed(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Gone(Exception):  # noqa: N818 - a sign, not an error
    """Client or server left in the middle."""


class _Relay(BaseHTTPRequestHandler):
    """One connection of a client, with at most one to the server."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener
    upstream: http.client.HTTPConnection | None = None

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the inherited name
        pass

    def finish(self) -> None:
        self._leave_server()
        with contextlib.suppress(OSError):  # what is left to flush goes to nobody
            super().finish()

    def _serve(self) -> None:
        data = self._read_body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        endpoint = urlsplit(self.path).path.rpartition("/")[2]
        body = parsed(data, headers.get("content-encoding", ""))
        call = Call(endpoint, body, 0, time.time(), self.path, headers)
        fault = self.server.proxy.register(call)
        try:
            if fault is None:
                self._answer(call, self._forward(call, data))
            else:
                self._spoil(call, fault, data)
        except (OSError, http.client.HTTPException, _Gone):
            self.close_connection = True
        finally:
            self.server.proxy.settle(call)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

    def _spoil(self, call: Call, fault: Fault, data: bytes) -> None:
        proxy = self.server.proxy
        if fault.kind is Kind.ANSWER:
            content = _Reply(fault.status_code, fault.headers, fault.body)
            self._answer(call, content)
        elif fault.kind is Kind.SLOW:
            proxy.released.wait(fault.seconds)
            self._answer(call, self._forward(call, data))
        elif fault.kind is Kind.RUN:
            self._run(call, fault, data)
        else:
            self.close_connection = True
            if fault.kind is Kind.REFUSE:
                self._reset()
            elif fault.kind is Kind.LOSE_REPLY:
                self._forward(call, data)
            elif fault.kind is Kind.HALF_REPLY:
                self._answer(call, self._forward(call, data), half=True)
            elif fault.kind is Kind.BLACK_HOLE:
                proxy.settle(call)
                released = proxy.released
                while not released.wait(_LOOK) and not self._client_left():
                    pass

    def _run(self, call: Call, fault: Fault, data: bytes) -> None:
        assert fault.action is not None
        if fault.when == "before":
            fault.action(call)
            if fault.cut:
                self.close_connection = True
                return
        reply = self._forward(call, data)
        if fault.when == "after":
            fault.action(call)
            if fault.cut:
                self.close_connection = True
                return
        self._answer(call, reply)

    def _forward(self, call: Call, data: bytes) -> _Reply:
        """Send the request on. A kept connection that the server has closed meanwhile is replaced."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        headers["Content-Length"] = str(len(data))
        if self.upstream is not None and _at_end(self.upstream.sock):
            self._leave_server()
        if self.upstream is None:
            self.upstream = http.client.HTTPConnection(*self.server.proxy.target, timeout=_LONGEST_POLL)
            self.upstream.connect()
            assert self.upstream.sock is not None
            self.upstream.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.upstream.request(self.command, self.path, data, headers)
        call.forwarded = True
        while not select.select([self.upstream.sock], [], [], _LOOK)[0]:
            if self._client_left():
                raise _Gone
        answer = self.upstream.getresponse()
        reply = _Reply(answer.status, tuple(answer.getheaders()), answer.read())
        if answer.will_close:
            self._leave_server()
        return reply

    def _answer(self, call: Call, reply: _Reply, *, half: bool = False) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        call.status = None if half else reply.status  # before it is sent, as the client may look at once
        self.end_headers()
        self.wfile.write(reply.body[: len(reply.body) // 2] if half else reply.body)

    def _reset(self) -> None:
        """Close the client's connection with a reset. Closing the socket object would say goodbye first."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def _client_left(self) -> bool:
        return _at_end(self.connection)

    def _leave_server(self) -> None:
        if self.upstream is not None:
            self.upstream.close()
            self.upstream = None

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _chunks(self) -> Iterable[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers


@attrs.frozen
class _Reply:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def _at_end(connection: socket.socket | None) -> bool:
    """Whether the other side has closed; of an encrypted connection that cannot be told without reading."""
    if connection is None:
        return True
    if isinstance(connection, ssl.SSLSocket) or not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except OSError:
        return True
