"""HTTP to one server: connections that are kept, watched while somebody waits, and explained when they fail.

This is urllib3 without ``requests`` on top: a request costs a third of the time and the process five megabytes less,
nothing hidden repeats a call or replaces the ``Authorization`` header by one from ``.netrc``, and the socket of a
waiting call stays within reach, so that the call can be given up.
"""

from __future__ import annotations

import contextlib
import enum
import http.client
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import (
    ClosedPoolError,
    DecodeError,
    HTTPError,
    ProtocolError,
)

from clearml_agent_clone.api.access import ServerAccess, Timeout
from clearml_agent_clone.api.failures import explain
from clearml_agent_clone.api.proxy import proxy_for
from clearml_agent_clone.api.tls import tls_options
from clearml_agent_clone.errors import Cancelled, UserError

_KEPT_CONNECTIONS = 8
_STALE_POOLS = 3
_LARGEST_ANSWER = 256 * 1024 * 1024


@attrs.frozen
class Request:
    """One request: ``path`` follows the base URL, such as ``/v2.14/tasks.get_all``; the rest is sent as it is."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    timeout: Timeout


@attrs.frozen
class Answer:
    """What came back, whatever it is. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Reuse(enum.Enum):
    """Whether a request may go over a kept connection.

    The server may close an idle one in the very moment of sending; whether it has seen the request then, nobody knows,
    though it hardly ever has.
    """

    YES = "and if it was closed, the request is sent again at once"
    REPORT = "and if it was closed, the caller is told"
    NO = "no: it gets one of its own, so that it cannot happen"


class _Exchange:
    """One request on its way: what the connection tells and what may be done to it from another thread."""

    def __init__(self) -> None:
        self.sent = False
        self.reused = False
        self.answering = False
        self.doubtful = False
        self.abandoned = False
        self._sock: socket.socket | None = None
        self._lock = threading.Lock()

    def attach(self, sock: socket.socket) -> None:
        """The answer will come through ``sock``."""
        with self._lock:
            self._sock = sock
            if self.abandoned:  # given up before there was a socket to shut
                self._shut()

    def detach(self) -> None:
        """The answer is there; the socket may serve another request from now on."""
        with self._lock:
            self._sock = None

    def abandon(self) -> None:
        """Make the reading thread fail at once. From any thread."""
        with self._lock:
            self.abandoned = True
            self._shut()

    def _shut(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):  # it was closed meanwhile, which is what was wanted
                # Not the TLS layer's own shutdown: that one would take the object away under the reading thread.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


class _Here(threading.local):
    exchange: _Exchange | None = None


_here = _Here()


class _Observed:
    """What both kinds of connection add: they tell the exchange of their thread how far it is."""

    answered = 0
    sock: Any

    def connect(self) -> None:
        self.answered = 0  # a connection object outlives its socket
        super().connect()  # type: ignore[misc]  # the connection class stands behind it

    def request(self, *args: Any, **options: Any) -> None:
        if _here.exchange is not None:
            _here.exchange.sent = True
            _here.exchange.reused = self.sock is not None and self.answered > 0
        super().request(*args, **options)  # type: ignore[misc]  # as above

    def getresponse(self, *args: Any, **options: Any) -> Any:
        exchange = _here.exchange
        if exchange is not None:
            exchange.attach(getattr(self.sock, "socket", self.sock))
        response = super().getresponse(*args, **options)  # type: ignore[misc]  # as above
        self.answered += 1
        return response


class _Plain(_Observed, HTTPConnection):
    pass


class _Encrypted(_Observed, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted


class Transport:
    """Sends single requests; any thread may call it. It knows HTTP and nothing of ClearML."""

    def __init__(self, access: ServerAccess) -> None:
        self._access = access
        self._proxy = proxy_for(access.url, os.environ)
        forwarded = self._proxy and not access.is_encrypted
        # A proxy for plain HTTP wants the whole URL; through a tunnel, or directly, the server wants its path.
        self._prefix = access.url if forwarded else urlsplit(access.url).path
        self._lock = threading.Lock()
        self._tls: dict[str, Any] | None = None
        self._pool: HTTPConnectionPool | None = None
        self._waiting: set[_Exchange] = set()

    def send(self, request: Request, *, reuse: Reuse = Reuse.YES, stop: threading.Event | None = None) -> Answer:
        """Send one request and read the whole answer.

        Args:
            request: what to send.
            reuse: what to do about kept connections.
            stop: given for a request that ``interrupt`` may give up; when it is set, the request is not even sent.

        Raises:
            ServerUnreachable: no whole answer came.
            Cancelled: given up by ``interrupt`` or ``stop``.
            UserError: the settings of proxy or TLS are wrong.
        """
        exchange = _Exchange()
        with contextlib.nullcontext() if stop is None else self._announced(exchange):
            if stop is not None and stop.is_set():  # asked after being announced, so that no interruption is missed
                raise Cancelled
            try:
                if reuse is Reuse.NO:
                    return self._over_own(exchange, request)
                return self._over_kept(exchange, request, _STALE_POOLS if reuse is Reuse.YES else 0)
            except (HTTPError, OSError, http.client.HTTPException) as error:
                if exchange.abandoned:
                    raise Cancelled from None
                failure = explain(error, self._access, request.timeout, sent=exchange.sent, proxy=self._proxy)
                failure.may_have_acted |= exchange.doubtful
                raise failure from error

    def interrupt(self) -> None:
        """Give up every interruptible request that is on its way."""
        with self._lock:
            waiting = list(self._waiting)
        for exchange in waiting:
            exchange.abandon()

    def close(self) -> None:
        """Close the kept connections. A later request opens new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def _over_kept(self, exchange: _Exchange, request: Request, resend: int) -> Answer:
        for again in range(resend + 1):
            pool = self._kept_pool()
            exchange.sent = exchange.reused = False
            try:
                return self._exchange(pool, exchange, request)
            except (ProtocolError, ClosedPoolError) as error:
                if exchange.abandoned or again == resend or not _is_stale(error, exchange):
                    raise
                # The server closed a connection that had been idle. It closes all of them alike: start anew, at once.
                exchange.doubtful |= exchange.sent
                self._drop(pool)
        raise AssertionError("the last round returns or raises")

    def _over_own(self, exchange: _Exchange, request: Request) -> Answer:
        with contextlib.closing(self._open()) as pool:
            return self._exchange(pool, exchange, request)

    def _exchange(self, pool: HTTPConnectionPool, exchange: _Exchange, request: Request) -> Answer:
        _here.exchange = exchange
        try:
            response = pool.urlopen(
                self._access.method,
                self._prefix + request.path,
                body=request.body,
                headers=request.headers,
                timeout=urllib3.Timeout(connect=request.timeout.connect, read=request.timeout.read),
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
                enforce_content_length=True,
            )
            exchange.answering = True
            try:
                data = _read(response)
            finally:
                exchange.detach()
                response.release_conn()
            return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, data)
        finally:
            _here.exchange = None

    @contextlib.contextmanager
    def _announced(self, exchange: _Exchange) -> Iterator[None]:
        with self._lock:
            self._waiting.add(exchange)
        try:
            yield
        finally:
            with self._lock:
                self._waiting.discard(exchange)

    def _kept_pool(self) -> HTTPConnectionPool:
        with self._lock:
            if self._pool is None:
                self._pool = self._open()
            return self._pool

    def _drop(self, pool: HTTPConnectionPool) -> None:
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.close()

    def _open(self) -> HTTPConnectionPool:
        with_tls = self._access.is_encrypted
        if with_tls and self._tls is None:
            self._tls = tls_options(self._access.verify)
        options = {"maxsize": _KEPT_CONNECTIONS, **((self._tls or {}) if with_tls else {})}
        if self._proxy:
            return _behind_proxy(self._proxy, self._access.url, options)
        parts = urlsplit(self._access.url)
        assert parts.hostname is not None
        return (_EncryptedPool if with_tls else _PlainPool)(parts.hostname, parts.port, **options)


def _is_stale(error: HTTPError, exchange: _Exchange) -> bool:
    """Whether the connection was one that the server had let go: used before, and cut without one byte of answer."""
    if isinstance(error, ClosedPoolError):  # another thread found out first
        return True
    cut = any(isinstance(reason, ConnectionError) for reason in error.args)
    return cut and exchange.reused and not exchange.answering


def _behind_proxy(proxy: str, url: str, options: dict[str, Any]) -> HTTPConnectionPool:
    parts = urlsplit(proxy)
    headers = None
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=pair)
    try:
        manager = urllib3.ProxyManager(proxy, num_pools=1, proxy_headers=headers, **options)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _EncryptedPool}
        return manager.connection_from_url(url)
    except (HTTPError, ValueError) as error:
        shown = proxy.rpartition("@")[2]
        raise UserError(
            f'the proxy "{shown}" cannot be used: only http and https proxies are known',
            remedy="Correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the server in NO_PROXY",
            code="proxy-invalid",
        ) from error


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    data = response.read(_LARGEST_ANSWER + 1)
    if len(data) > _LARGEST_ANSWER:
        response.close()
        raise DecodeError(f"the answer is larger than {_LARGEST_ANSWER} bytes")
    if not data and "content-length" not in response.headers and "transfer-encoding" not in response.headers:
        raise ProtocolError("the answer broke off in its headers")  # which http.client takes for their end
    return data
