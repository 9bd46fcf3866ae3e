"""A relay that counts requests: both agents are counted by the same means, whatever their server can do."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import final
from urllib.parse import urlsplit

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "upgrade", "proxy-connection", "host"})


class _Listener(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that went away, as a stopped daemon does in the middle of a long poll, is no news."""


@final
class CountingProxy:
    """Passes HTTP requests on to ``target``, counting them. Long polls may take ``patience`` seconds."""

    def __init__(self, target: str, patience: float = 120.0) -> None:
        self.count = 0
        self.paths: list[str] = []
        parts = urlsplit(target)
        assert parts.hostname is not None
        relay = _relay(self, parts.hostname, parts.port or 80, patience)
        self._server = _Listener(("127.0.0.1", 0), relay)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> CountingProxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _relay(owner: CountingProxy, host: str, port: int, patience: float) -> type[BaseHTTPRequestHandler]:
    class Relay(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            owner.count += 1
            owner.paths.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            upstream = http.client.HTTPConnection(host, port, timeout=patience)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
                upstream.request(self.command, self.path, body, headers)
                answer = upstream.getresponse()
                content = answer.read()
            finally:
                upstream.close()
            self.send_response_only(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _HOP_BY_HOP | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _pass_on  # noqa: N815 - the names that http.server asks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that http.server gives it
            """Say nothing: the table is the only output."""

    return Relay
