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
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs
import urllib3
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ClosedPoolError, DecodeError, HTTPError, ProtocolError, SSLError

from clearml_agent_clone.api.access import ServerAccess, Timeout
from clearml_agent_clone.api.exchange import EncryptedPool, Exchange, PlainPool, here
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
        self._waiting: set[Exchange] = set()

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
        exchange = Exchange()
        with contextlib.nullcontext() if stop is None else self._announced(exchange):
            if stop is not None and stop.is_set():  # asked after being announced, so that no interruption is missed
                raise Cancelled
            try:
                if reuse is Reuse.NO:
                    return self._over_own(exchange, request)
                return self._over_kept(exchange, request, resend=reuse is Reuse.YES)
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

    def _over_kept(self, exchange: Exchange, request: Request, *, resend: bool) -> Answer:
        for _ in range(_STALE_POOLS):
            pool = self._kept_pool()
            exchange.sent = exchange.reused = False
            try:
                return self._exchange(pool, exchange, request)
            except ClosedPoolError:
                continue  # another thread found out first that the connections were stale
            except (ProtocolError, SSLError) as error:
                if exchange.abandoned or not resend or not _is_stale(error, exchange):
                    raise
                # The server closed a connection that had been idle. It closes all of them alike: start anew, at once.
                exchange.doubtful |= exchange.sent
                self._drop(pool)
        return self._over_own(exchange, request)

    def _over_own(self, exchange: Exchange, request: Request) -> Answer:
        with contextlib.closing(self._open()) as pool:
            return self._exchange(pool, exchange, request)

    def _exchange(self, pool: HTTPConnectionPool, exchange: Exchange, request: Request) -> Answer:
        here.exchange = exchange
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
            here.exchange = None

    @contextlib.contextmanager
    def _announced(self, exchange: Exchange) -> Iterator[None]:
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
        return (EncryptedPool if with_tls else PlainPool)(parts.hostname, parts.port, **options)


def _is_stale(error: HTTPError, exchange: Exchange) -> bool:
    """Whether the connection was one that the server had let go: used before, and cut without one byte of answer."""
    cut = any(isinstance(reason, ConnectionError | ssl.SSLEOFError) for reason in error.args)
    return cut and exchange.reused and not exchange.answering


def _behind_proxy(proxy: str, url: str, options: dict[str, Any]) -> HTTPConnectionPool:
    parts = urlsplit(proxy)
    headers = None
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = urllib3.make_headers(proxy_basic_auth=pair)
    try:
        manager = urllib3.ProxyManager(proxy, num_pools=1, proxy_headers=headers, **options)
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": EncryptedPool}
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
