"""A server of scripted answers over real HTTP, and sessions that talk to it without ever sleeping."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import socket
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.access import ServerAccess
from clearml_agent_clone.api.session import Session

Step = Callable[["Handler"], None]

START = 1_700_000_000.0


@attrs.frozen
class Seen:
    """A request as the server saw it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int

    @property
    def endpoint(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ScriptedServer
    body = b""

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1
            self.number = self.server.connections

    def _serve(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, self.body, self.number)
        with self.server.lock:
            self.server.seen.append(seen)
            steps = self.server.steps[seen.endpoint]
            step = steps.popleft() if steps else self.server.usual[seen.endpoint]
        try:
            step(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client went away, as some tests mean it to

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server looks for

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the inherited name
        pass

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class ScriptedServer(ThreadingHTTPServer):
    """``steps[endpoint]`` are done first, one per request, then ``usual[endpoint]``."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.scheme = "http" if tls is None else "https"
        self.lock = threading.Lock()
        self.connections = 0
        self.open: set[socket.socket] = set()
        self.seen: list[Seen] = []
        self.steps: dict[str, deque[Step]] = defaultdict(deque)
        self.usual: dict[str, Step] = defaultdict(ok)
        self.usual["auth.login"] = login()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def will(self, endpoint: str, *steps: Step) -> None:
        self.steps[endpoint].extend(steps)

    def calls(self, endpoint: str) -> list[Seen]:
        return [seen for seen in self.seen if seen.endpoint == endpoint]

    def process_request(self, request: Any, client_address: Any) -> None:
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is part of many tests."""

    def close_all(self) -> None:
        """Cut every connection."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def envelope(status: int, data: Any = None, subcode: int = 0, message: str = "OK") -> bytes:
    meta = {"id": "1", "trx": "1", "result_code": status, "result_subcode": subcode, "result_msg": message}
    return json.dumps({"meta": meta, "data": {} if data is None else data}).encode()


def ok(**data: Any) -> Step:
    return lambda handler: handler.reply(200, envelope(200, data))


def fault(status: int, subcode: int = 0, message: str = "no", headers: Mapping[str, str] | None = None) -> Step:
    return lambda handler: handler.reply(status, envelope(status, None, subcode, message), headers)


def page(status: int, text: str = "<html><body>hello</body></html>", **headers: str) -> Step:
    named = {"Content-Type": "text/html; charset=utf-8", **headers}
    return lambda handler: handler.reply(status, text.encode(), named)


def raw(data: bytes) -> Step:
    def step(handler: Handler) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return step


def hang_up(handler: Handler) -> None:
    """Close without an answer."""
    handler.close_connection = True


def hold(begun: threading.Event, until: threading.Event, then: Step | None = None) -> Step:
    def step(handler: Handler) -> None:
        begun.set()
        assert until.wait(20)
        (then or ok())(handler)

    return step


def jwt(**claims: Any) -> str:
    """An unsigned token: the client must not care about the signature."""
    parts = [{"alg": "none"}, claims]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + ".x"


def token(life: float | None = 30 * 86400.0, **claims: Any) -> str:
    usual: dict[str, Any] = {"api_version": "2.34", "server_version": "2.3.0", "iat": START}
    if life is not None:
        usual["exp"] = START + life
    return jwt(**{**usual, **claims})


def login(life: float | None = 30 * 86400.0, **claims: Any) -> Step:
    return ok(token=token(life, **claims))


@contextlib.contextmanager
def serving(server: ScriptedServer) -> Iterator[ScriptedServer]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.close_all()
        server.server_close()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with serving(ScriptedServer()) as running:
        yield running


@attrs.define
class Time:
    """A clock that only moves when told, and a wait that records instead of waiting."""

    now: float = START
    waits: list[float] = attrs.Factory(list)
    stop_at: int | None = None
    _seconds: float = 0.0

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return self.stop_at is not None and len(self.waits) >= self.stop_at

    def clock(self) -> float:
        return self.now

    def monotonic(self) -> float:
        """Moves by a minute whenever it is read, so that nothing is put off until later."""
        self._seconds += 60.0
        return self._seconds


@pytest.fixture
def time() -> Time:
    return Time()


SessionMaker = Callable[..., Session]


@pytest.fixture
def new_session(server: ScriptedServer, time: Time) -> Iterator[SessionMaker]:
    """Makes sessions for the scripted server; arguments are those of ``ServerAccess``, or ``stop`` and ``host_name``."""
    made: list[Session] = []

    def make(*, stop: threading.Event | None = None, host_name: str = "", **options: Any) -> Session:
        options = {"url": server.url, "access_key": "KEY", "secret_key": "SECRET", **options}
        session = Session(
            ServerAccess(**options),
            host_name=host_name,
            stop=stop,
            clock=time.clock,
            monotonic=time.monotonic,
            wait=time.wait,
            rng=random.Random(1),
        )
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()


@pytest.fixture
def session(new_session: SessionMaker) -> Session:
    return new_session()
