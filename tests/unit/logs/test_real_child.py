"""A real process writes into the spool, another reads it, a real HTTP server takes it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.logs import Redactor, Shipper, Spool

CHILD = r"""
import os, time
class Stream:
    def __init__(self, fd): self.fd = fd
    def write(self, data): os.write(self.fd, data)
out, err = Stream(1), Stream(2)
out.write(b"begin\n")
for number in range(101):
    err.write(b"\r%3d%%|%s|" % (number, b"#" * (number // 10)))
err.write(b"\n")
for byte in "na\u00efve \u20ac \U0001f600\n".encode():
    out.write(bytes([byte]))
    time.sleep(0.001)
for number in range(50):
    out.write(b"out %d\n" % number)
    err.write(b"err %d\n" % number)
for part in ("hunter2", "hunter2", " and ", "ghp_", "0123456789abcdef0123\n"):
    out.write(part.encode())
    time.sleep(0.02)
out.write(b"\xff\x00\x1b[1mbold\x1b[0m\n")
out.write(b"no end")
"""


@attrs.define
class Sink:
    """A server over real HTTP that keeps the events of ``events.add_batch``."""

    port: int
    events: list[dict[str, Any]]

    def send(self, lines: Sequence[bytes]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = {"Content-Type": "application/json-lines"}
        connection.request("POST", "/events.add_batch", b"\n".join(lines), headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read())
        connection.close()
        return answer

    @property
    def text(self) -> str:
        return "".join(event["msg"] for event in self.events)


@pytest.fixture
def sink() -> Iterator[Sink]:
    events: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            events.extend(map(json.loads, body.split(b"\n")))
            answer = b'{"errors":0}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Sink(server.server_address[1], events)
    server.shutdown()
    thread.join()
    server.server_close()


def _child(spool: Spool, script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", script], stdout=spool.fd, stderr=spool.fd)


def test_what_a_real_process_writes_arrives_as_a_terminal_would_show_it(tmp_path: Path, sink: Sink) -> None:
    spool = Spool.create(tmp_path)
    shipper = Shipper(spool, sink.send, "t", "w", tmp_path, Redactor(["hunter2hunter2"]))
    child = _child(spool, CHILD)
    while child.poll() is None:
        time.sleep(min(0.02, shipper.step(time.monotonic())))
    delivery = shipper.finish(time.monotonic() + 10)
    spool.close()
    assert delivery.complete
    lines = sink.text.split("\n")
    assert lines[0] == "begin"
    assert lines[-1] == "no end"
    assert lines[-2] == "\ufffd\u2400\x1b[1mbold\x1b[0m"
    assert lines[-3] == "**** and ghp_****"
    assert "naïve € 😀" in lines
    assert [line for line in lines if line.startswith("out")] == [f"out {number}" for number in range(50)]
    assert [line for line in lines if line.startswith("err")] == [f"err {number}" for number in range(50)]
    bars = [line for line in lines if "%|" in line]
    assert bars[-1] == "100%|##########|"
    assert len(bars) < 5


def test_a_hundred_thousand_lines_are_there_a_moment_after_they_are_written(tmp_path: Path, sink: Sink) -> None:
    spool = Spool.create(tmp_path)
    shipper = Shipper(spool, sink.send, "t", "w", tmp_path, Redactor(["hunter2hunter2"]))
    child = _child(spool, "for number in range(100_000): print('line', number, 'of many', flush=number % 100 == 0)")
    used = time.thread_time()
    while child.poll() is None:
        time.sleep(min(0.05, shipper.step(time.monotonic())))
    assert shipper.finish(time.monotonic() + 20).shipped_lines == 100_000
    used = time.thread_time() - used
    spool.close()
    assert sink.text.splitlines() == [f"line {number} of many" for number in range(100_000)]
    stamps = [event["timestamp"] for event in sink.events]
    assert stamps == sorted(set(stamps))
    assert used < 3  # about 0.2 on a quiet machine
    assert stamps[-1] <= time.time() * 1000 + 100


def test_the_child_lives_on_and_its_console_with_it_when_the_runner_is_killed(tmp_path: Path, sink: Sink) -> None:
    runner = f"""
import pathlib, subprocess, sys, os, signal
from clearml_agent_clone.logs import Spool
spool = Spool.create(pathlib.Path({str(tmp_path)!r}))
spool.say("runner says")
script = "import sys; print('before', flush=True); sys.stdin.read(); print('after', flush=True)"
child = subprocess.Popen([sys.executable, "-c", script], stdout=spool.fd, stderr=spool.fd, start_new_session=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.Popen([sys.executable, "-c", runner], stdin=subprocess.PIPE)
    killed.wait()
    spool = Spool.open(tmp_path)
    shipper = Shipper(spool, sink.send, "t", "w", tmp_path, Redactor())
    deadline = time.monotonic() + 20
    while "before" not in sink.text and time.monotonic() < deadline:
        time.sleep(min(0.05, shipper.step(time.monotonic())))
    assert killed.stdin is not None
    killed.stdin.close()
    while "after" not in sink.text and time.monotonic() < deadline:
        time.sleep(min(0.05, shipper.step(time.monotonic())))
    spool.close()
    assert sink.text == "runner says\nbefore\nafter\n"
