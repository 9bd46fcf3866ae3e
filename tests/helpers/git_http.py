"""A git server over http or https that asks for passwords, redirects, and keeps large files (git-lfs)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs


@attrs.define
class GitHost:
    """A server of ``git http-backend``.

    ``passwords`` has user and password by host name or by ``host/repository``; a host that is not in it asks for none.
    ``bearer`` is the token that has to be sent instead. ``redirects`` maps the beginning of a path to where it went.
    ``large`` holds git-lfs files by their hash. Transfers wait while ``gate`` is clear.
    """

    root: Path
    port: int = 0
    scheme: str = "http"
    passwords: dict[str, tuple[str, str]] = attrs.Factory(dict)
    bearer: str = ""
    redirects: dict[str, str] = attrs.Factory(dict)
    large: dict[str, bytes] = attrs.Factory(dict)
    asked: list[tuple[str, str, str]] = attrs.Factory(list)
    heads: list[str] = attrs.Factory(list)
    gate: threading.Event = attrs.Factory(threading.Event)
    packs: int = 0
    waiting: threading.Event = attrs.Factory(threading.Event)
    status: int = 0

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}/{name}"

    @property
    def logins(self) -> list[tuple[str, str]]:
        """Host and ``user:password`` of every request that had them."""
        return [
            (host, base64.b64decode(header.removeprefix("Basic ")).decode()) for host, _, header in self.asked if header
        ]

    def add_large(self, content: bytes) -> str:
        """Keep a large file; the text that stands for it in the repository."""
        digest = hashlib.sha256(content).hexdigest()
        self.large[digest] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"

    def admits(self, name: str, path: str, header: str) -> bool:
        """Whether a request with this ``Authorization`` header may pass."""
        if self.bearer:
            return header == f"Bearer {self.bearer}"
        repository = f"{name}/{path.lstrip('/').partition('/')[0].removesuffix('.git')}"
        wanted = self.passwords.get(repository) or self.passwords.get(name)
        return not wanted or header == "Basic " + base64.b64encode(":".join(wanted).encode()).decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, host: GitHost, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.host = host
        self.tls = tls

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls is not None:
            # The handshake belongs into the connection's own thread, with its first read.
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that do not trust us, or are killed, hang up: that is what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _serve(self, body: bytes) -> None:
        host = self.server.host
        name = (self.headers.get("Host") or "").rpartition(":")[0]
        login = self.headers.get("Authorization") or ""
        host.asked.append((name, self.path, login))
        host.heads.append(f"{self.path}\n{self.headers}")
        target = next(
            (to + self.path[len(old) :] for old, to in host.redirects.items() if self.path.startswith(old)), ""
        )
        if host.status:
            self.send_error(host.status)
        elif not host.admits(name, self.path, login):
            kind = {"LFS-Authenticate": 'Basic realm="test"'} if "/info/lfs/" in self.path else {}
            self._answer(401, b"", **{"WWW-Authenticate": 'Basic realm="test"'}, **kind)
        elif target:
            self._answer(302, b"", Location=target)
        elif "/info/lfs/" in self.path or self.path.startswith("/large/"):
            self._large(name, body)
        else:
            if b"command=fetch" in body:
                host.packs += 1
                host.waiting.set()
                host.gate.wait(60)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._repository(body)

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)

    def _large(self, name: str, body: bytes) -> None:
        """The batch interface of git-lfs, as far as downloads need it, and the files."""
        host = self.server.host
        if not self.path.endswith("/objects/batch"):
            content = host.large.get(self.path.rpartition("/")[2])
            self._answer(404 if content is None else 200, content or b"")
            return
        objects = []
        for wanted in json.loads(body)["objects"]:
            known = wanted["oid"] in host.large
            action = {"download": {"href": f"{host.scheme}://{name}:{host.port}/large/{wanted['oid']}"}}
            gone = {"error": {"code": 404, "message": "Object does not exist"}}
            objects.append({**wanted, **({"actions": action} if known else gone)})
        reply = json.dumps({"transfer": "basic", "objects": objects}).encode()
        self._answer(200, reply, **{"Content-Type": "application/vnd.git-lfs+json"})

    def _repository(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.host.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": os.environ["HOME"],
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._answer(int(headers.pop("Status", "200 OK").split()[0]), content, **headers)


@contextlib.contextmanager
def serve(root: Path, certificate: Path | None = None) -> Iterator[GitHost]:
    """A server of all repositories in ``root``; over https when it has a certificate (a file with its key)."""
    host = GitHost(root, scheme="https" if certificate else "http")
    host.gate.set()
    tls = None
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
    server = _Server(host, tls)
    host.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield host
    finally:
        host.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()


def make_certificate(folder: Path, *names: str) -> Path:
    """A self-signed certificate and its key in one file, for these names and addresses."""
    kinds = ["IP" if name[0].isdigit() else "DNS" for name in names]
    alternatives = ",".join(f"{kind}:{name}" for kind, name in zip(kinds, names, strict=True))
    key, file = folder / f"{names[0]}.key", folder / f"{names[0]}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={names[0]}", "-addext", f"subjectAltName={alternatives}", "-keyout", key, "-out", file],
        check=True, capture_output=True,
    )  # fmt: skip
    with file.open("a") as both:
        both.write(key.read_text())
    return file
