from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.worker.sight import responder as module
from clearml_agent_clone.worker.sight.responder import (
    SOCKET_NAME,
    Responder,
    listen_tcp,
    listen_unix,
    short_address,
)
from clearml_agent_clone.worker.sight.sight import Address, Sight
from clearml_agent_clone.worker.sight.snapshot import DaemonSnapshot
from tests.helpers.sight_tools import SNAPSHOT, healthy

Open = Callable[..., int]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens a sight over HTTP and returns its port; a snapshot may be an error to raise."""
    with contextlib.ExitStack() as stack:

        def start(snapshot: DaemonSnapshot | Exception) -> int:
            def look() -> DaemonSnapshot:
                if isinstance(snapshot, Exception):
                    raise snapshot
                return snapshot

            listener = listen_tcp("127.0.0.1", 0)
            port: int = listener.getsockname()[1]
            monkeypatch.setattr("clearml_agent_clone.worker.sight.sight.listen_tcp", lambda host, port: listener)
            sight = Sight(tmp_path, tmp_path, look, lambda text: text.replace("way", "****"), Address("", port))
            stack.enter_context(sight)
            return port

        yield start


def get(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()
    finally:
        connection.close()


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        heard = b""
        while data := connection.recv(65536):
            heard += data
        return heard


def test_metrics_and_health_over_http(opened: Open) -> None:
    port = opened(healthy())
    status, kind, body = get(port, "/metrics?x=1")
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert b'clearml_agent_info{worker="host:0"' in body
    status, kind, body = get(port, "/healthz")
    assert (status, kind) == (200, "application/json")
    assert json.loads(body) == {"healthy": True, "worker": "host:0", "state": "working", "problems": []}


def test_health_is_red_and_names_the_loop_without_its_secrets(opened: Open) -> None:
    status, _, body = get(opened(SNAPSHOT), "/healthz")
    assert status == 503
    assert json.loads(body)["problems"] == [{"loop": "heartbeat", "late_seconds": 170.0, "error": 'no "****"\\\nback'}]


def test_only_get_and_head_of_the_two_pages(opened: Open) -> None:
    port = opened(healthy())
    assert get(port, "/")[0] == 404
    assert get(port, "/metrics/")[0] == 404
    assert get(port, "/healthz", "POST", b"x" * 100_000)[0] == 405
    assert get(port, "/healthz", "HEAD") == (200, "application/json", b"")
    assert b"Allow: GET, HEAD" in raw(port, b"PUT /metrics HTTP/1.1\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [(b"hello\r\n\r\n", 400), (b"GET /metrics\n\n", 400), (b"\x16\x03\x01\r\n\r\n", 400), (b"G" * 20_000, 431)],
)
def test_what_is_no_request_is_refused(opened: Open, request_: bytes, status: int) -> None:
    assert raw(opened(healthy()), request_).startswith(f"HTTP/1.1 {status} ".encode())


def test_a_request_may_come_in_pieces(opened: Open) -> None:
    with socket.create_connection(("127.0.0.1", opened(healthy())), timeout=10) as connection:
        for piece in (b"GET /hea", b"lthz HTTP/1.0\r\n", b"\r\n"):
            connection.sendall(piece)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_slow_clients_keep_nobody_waiting(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    port = opened(healthy())
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)) for _ in range(40)]
        for connection in slow:
            connection.sendall(b"GET /metr")
        with socket.socket(socket.AF_UNIX) as asking:  # they have a queue of their own
            asking.connect(str(tmp_path / SOCKET_NAME))
            assert b"host:0" in asking.recv(65536)
        assert get(port, "/healthz")[0] == 200  # it comes to those behind them, too
        assert slow[0].recv(100) == b""


def test_a_bug_is_an_answer_of_500_and_not_the_end(opened: Open, tmp_path: Path) -> None:
    port = opened(ValueError("a bug"))
    assert get(port, "/metrics")[0] == 500
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(tmp_path / SOCKET_NAME))
        assert asking.recv(65536) == b""
    assert get(port, "/healthz")[0] == 500


def test_without_descriptors_it_waits_and_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    class Full:
        closed = False

        def accept(self) -> None:
            raise OSError(24, "Too many open files")

    now = [100.0]
    responder = Responder(lambda: now[0])
    with listen_tcp("127.0.0.1", 0) as listener:
        responder.listen(listener, module.Protocol())
        responder._choose_listeners()
        known = responder._listeners[0]
        known.socket = Full()  # type: ignore[assignment]  # a system that has no descriptor left
        responder._accept(known)
        known.socket = listener
        responder._choose_listeners()
        assert (known.listening, responder._timeout()) == (False, 1.0)
        now[0] = 101.0
        responder._choose_listeners()
        assert known.listening
        responder.stop()
    assert "Too many open files" in caplog.text


def test_the_socket_is_private_whatever_the_umask_and_however_long_its_path(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 50)
    folder.mkdir(mode=0o700)
    (folder / SOCKET_NAME).write_text("left over")
    before = os.umask(0)
    try:
        listener = listen_unix(folder)
    finally:
        os.umask(before)
    with listener:
        mode = (folder / SOCKET_NAME).stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        handle = os.open(folder, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(short_address(handle))
        os.close(handle)


def test_a_folder_without_sockets_and_a_taken_port_are_told_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"status\.sock cannot be made: No such file"):
        listen_unix(tmp_path / "none")
    with listen_tcp("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=f"metrics port 127.0.0.1:{port} cannot be opened: Address already in use"):
            listen_tcp("127.0.0.1", port)
    with pytest.raises(UserError, match=r"metrics port 203\.0\.113\.7:80 cannot be opened"):
        listen_tcp("203.0.113.7", 80)


def test_a_closed_sight_leaves_no_socket(tmp_path: Path) -> None:
    with Sight(tmp_path, tmp_path, healthy, str):
        assert (tmp_path / SOCKET_NAME).exists()
    assert not (tmp_path / SOCKET_NAME).exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9100", Address("127.0.0.1", 9100)),
        ("0.0.0.0:9100", Address("0.0.0.0", 9100)),
        (":9100", Address("127.0.0.1", 9100)),
        ("[::1]:9100", Address("::1", 9100)),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert Address.parse(text, "127.0.0.1") == expected


@pytest.mark.parametrize("text", ["", "http", "70000", "host:", "-1", "²"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no port"):
        Address.parse(text, "127.0.0.1")
