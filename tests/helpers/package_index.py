"""A package index on this machine: wheels from a folder by real HTTP, with faults by request."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import attrs

_ARCHIVE = re.compile(r"(?P<name>.+?)-\d.*(?:\.whl|\.tar\.gz|\.zip)$")


@attrs.frozen
class Fault:
    """What happens to a request whose path matches.

    Args:
        path: pattern that is searched for in the path.
        status: answered in place of what was asked for; 0 answers nothing of the kind.
        reset: the connection is reset in place of an answer.
        hang: seconds that nothing comes.
        cut: only this many bytes of the body come, then the connection ends.
        chunk_pause: seconds between two parts of a body of 64 KiB each.
        times: how often it happens; -1 for ever.
    """

    path: str
    status: int = 0
    reset: bool = False
    hang: float = 0.0
    cut: int = -1
    chunk_pause: float = 0.0
    times: int = -1


class PackageIndex(ThreadingHTTPServer):
    """Serves ``folder`` as a simple index below ``/simple`` (or any other prefix) and its files below ``/files``.

    Attributes:
        requests: the paths that were asked for.
        faults: what goes wrong; the first that matches counts.
        password: what clients must send as ``user:password``; empty lets everybody in.
        yanked: file names that are marked as withdrawn.
        requires_python: file name to what its link says in ``data-requires-python``.
        only: part of the names of the files that there are; empty for all.
        hashes: file name to the SHA-256 that its link claims, where that is not the true one.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.password = ""
        self.yanked: set[str] = set()
        self.requires_python: dict[str, str] = {}
        self.hashes: dict[str, str] = {}
        self.only = ""
        self.on_request: Callable[[str], None] = lambda _: None
        self._used: dict[int, int] = {}
        self.over = threading.Event()
        self.scheme = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.server_port}/simple"

    def secured(self, certificate: Path, key: Path) -> None:
        """Speak TLS with this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https"

    def fault(self, path: str) -> Fault | None:
        for number, fault in enumerate(self.faults):
            if re.search(fault.path, path) and self._used.get(number, 0) != fault.times:
                self._used[number] = self._used.get(number, 0) + 1
                return fault
        return None

    def page(self, name: str) -> bytes:
        """The links to the files of ``name``; empty when there are none."""
        links = []
        for file in sorted(self.folder.iterdir()):
            match = _ARCHIVE.match(file.name)
            if match is None or self.only not in file.name or re.sub(r"[-_.]+", "-", match["name"]).lower() != name:
                continue
            digest = self.hashes.get(file.name) or hashlib.sha256(file.read_bytes()).hexdigest()
            python = self.requires_python.get(file.name)
            attributes = f' data-requires-python="{html.escape(python)}"' if python else ""
            attributes += ' data-yanked="broken"' if file.name in self.yanked else ""
            links.append(f'<a href="/files/{file.name}#sha256={digest}"{attributes}>{file.name}</a><br>')
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode() if links else b""

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: PackageIndex
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        server.requests.append(self.path)
        server.on_request(self.path)
        fault = server.fault(self.path) or Fault("")
        if fault.hang:
            server.over.wait(fault.hang)
        if fault.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        expected = "Basic " + base64.b64encode(server.password.encode()).decode()
        if server.password and self.headers.get("Authorization") != expected:
            self._answer(401, b"", {"WWW-Authenticate": "Basic"})
            return
        if fault.status:
            self._answer(fault.status, b"no\n")
            return
        kind, _, name = unquote(self.path).partition("?")[0].strip("/").rpartition("/")
        file = server.folder / name
        if kind == "files" and file.is_file():
            self._answer(200, file.read_bytes(), {"Content-Type": "application/octet-stream"}, fault)
            return
        body = server.page(name)
        self._answer(200 if body else 404, body, {"Content-Type": "text/html"}, fault)

    do_HEAD = do_GET  # noqa: N815 - the base class calls it so

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, fault: Fault = Fault("")
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "GET":
            return
        if fault.cut >= 0:
            self.wfile.write(body[: fault.cut])
            self.close_connection = True
            return
        if not fault.chunk_pause:
            self.wfile.write(body)
            return
        for start in range(0, len(body), 65536):
            self.wfile.write(body[start : start + 65536])
            self.server.over.wait(fault.chunk_pause)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


@contextmanager
def serve(index: PackageIndex) -> Iterator[PackageIndex]:
    """``index`` while the block runs."""
    with index:
        thread = threading.Thread(target=index.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield index
        index.over.set()
        index.shutdown()
