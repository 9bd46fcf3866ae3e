"""HTTP to one server: connections that are kept, watched while somebody waits, and explained when they fail.

``requests`` does the HTTP. Its adapter is called without its session, of which a client like this wants nothing: a
``.netrc`` that replaces the ``Authorization`` header, cookies, redirects.
"""

from __future__ import annotations

import contextlib
import enum
import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping

import attrs
import requests
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidURL, RequestException
from urllib3.exceptions import ClosedPoolError, HTTPError, LocationValueError

from clearml_agent_clone.api.access import ServerAccess, Timeout
from clearml_agent_clone.api.exchange import Exchange, here
from clearml_agent_clone.api.failures import causes_of, explain
from clearml_agent_clone.api.route import Route
from clearml_agent_clone.errors import Cancelled, UserError

_STALE_POOLS = 3
_LARGEST_ANSWER = 256 * 1024 * 1024
_PIECE = 1024 * 1024


@attrs.frozen
class Request:
    """One request: ``path`` follows the base URL, such as ``/v2.14/tasks.get_all``; the rest is sent as it is."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    timeout: Timeout


@attrs.frozen
class Answer:
    """What came back, whatever it is. ``headers`` finds a name in upper and lower case."""

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
        self._lock = threading.Lock()
        self._route: Route | None = None
        self._kept: HTTPAdapter | None = None
        self._under_way: set[Exchange] = set()

    def send(self, request: Request, *, reuse: Reuse = Reuse.YES, stop: threading.Event | None = None) -> Answer:
        """Send one request and read the whole answer.

        Args:
            request: what to send.
            reuse: what to do about kept connections.
            stop: given for a request that ``interrupt`` may give up; when it is set, the request is not even sent.

        Raises:
            ServerUnreachable: no whole answer came.
            Cancelled: given up by ``interrupt`` or ``stop``, where that may be.
            UserError: the settings of proxy or TLS are wrong, or the server's address is.
        """
        exchange = Exchange(interruptible=stop is not None)
        with self._announced(exchange):
            if stop is not None and stop.is_set():  # asked after being announced, so that no interruption is missed
                raise Cancelled
            route = self._route_there()
            try:
                whole = requests.Request(
                    self._access.method,
                    self._access.url + request.path,
                    headers=dict(request.headers),
                    data=request.body,
                ).prepare()
                if reuse is Reuse.NO:
                    return _over_own(route, exchange, whole, request.timeout)
                return self._over_kept(route, exchange, whole, request.timeout, resend=reuse is Reuse.YES)
            except (InvalidURL, LocationValueError) as error:
                raise self._no_address(error) from None
            except (HTTPError, OSError, http.client.HTTPException) as error:  # those of requests are OSErrors
                if exchange.abandoned and exchange.interruptible:
                    raise Cancelled from None
                failure = explain(error, self._access, request.timeout, sent=exchange.sent, proxy=route.proxy)
                failure.may_have_acted |= exchange.doubtful
                if failure.code == "certificate-untrusted":
                    self._forget_route(route)
                raise failure from error

    def interrupt(self, begun_before: float | None = None) -> None:
        """Give up every interruptible request that is on its way.

        Args:
            begun_before: give up all that were begun before this moment of ``time.monotonic`` as well. What is not
                interruptible fails as if its connection had broken.
        """
        with self._lock:
            under_way = list(self._under_way)
        for exchange in under_way:
            if exchange.interruptible or (begun_before is not None and exchange.begun < begun_before):
                exchange.abandon()

    def close(self) -> None:
        """Close the kept connections. A later request opens new ones."""
        with self._lock:
            kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def _over_kept(
        self, route: Route, exchange: Exchange, whole: requests.PreparedRequest, timeout: Timeout, *, resend: bool
    ) -> Answer:
        for _ in range(_STALE_POOLS):
            adapter = self._kept_connections(route)
            exchange.sent = exchange.reused = False
            try:
                return _exchange(adapter, route, exchange, whole, timeout)
            except (HTTPError, OSError) as error:
                causes = list(causes_of(error))
                if any(isinstance(cause, ClosedPoolError) for cause in causes):
                    continue  # another thread found out first that the connections were stale
                if exchange.abandoned or not resend or not _is_stale(causes, exchange):
                    raise
                # The server closed a connection that had been idle. It closes all of them alike: start anew, at once.
                exchange.doubtful |= exchange.sent
                self._drop(adapter)
        return _over_own(route, exchange, whole, timeout)

    @contextlib.contextmanager
    def _announced(self, exchange: Exchange) -> Iterator[None]:
        with self._lock:
            self._under_way.add(exchange)
        try:
            yield
        finally:
            with self._lock:
                self._under_way.discard(exchange)

    def _route_there(self) -> Route:
        with self._lock:
            if self._route is None:
                self._route = Route.to(self._access)
            return self._route

    def _forget_route(self, route: Route) -> None:
        """Read the CAs anew for the next request: they may be replaced along with the server's certificate."""
        with self._lock:
            if self._route is not route:
                return
            self._route, kept, self._kept = None, self._kept, None
        if kept is not None:
            kept.close()

    def _kept_connections(self, route: Route) -> HTTPAdapter:
        with self._lock:
            if self._kept is None:
                self._kept = route.open()
            return self._kept

    def _drop(self, adapter: HTTPAdapter) -> None:
        with self._lock:
            if self._kept is adapter:
                self._kept = None
        adapter.close()

    def _no_address(self, error: Exception) -> UserError:
        return UserError(
            f'api.api_server "{self._access.url}" is not a URL of a server: {error}',
            remedy="Write it as http://host:8008 or https://api.example.com",
            code="api-server-invalid",
        )


def _over_own(route: Route, exchange: Exchange, whole: requests.PreparedRequest, timeout: Timeout) -> Answer:
    with contextlib.closing(route.open()) as adapter:
        return _exchange(adapter, route, exchange, whole, timeout)


def _exchange(
    adapter: HTTPAdapter, route: Route, exchange: Exchange, whole: requests.PreparedRequest, timeout: Timeout
) -> Answer:
    here.exchange = exchange
    try:
        response = route.send(adapter, whole, timeout)
        exchange.answering = True
        with contextlib.closing(response):
            try:
                body = _read(response)
            finally:
                exchange.detach()
        return Answer(response.status_code, response.headers, body)
    finally:
        here.exchange = None


def _is_stale(causes: list[BaseException], exchange: Exchange) -> bool:
    """Whether the connection was one that the server had let go: used before, and cut without one byte of answer."""
    cut = any(isinstance(cause, ConnectionError | ssl.SSLEOFError) for cause in causes)
    return cut and exchange.reused and not exchange.answering


def _read(response: requests.Response) -> bytes:
    body = bytearray()
    for piece in response.iter_content(_PIECE):
        body += piece
        if len(body) > _LARGEST_ANSWER:
            raise RequestException(f"the answer is larger than {_LARGEST_ANSWER} bytes")
    if not body and "content-length" not in response.headers and "transfer-encoding" not in response.headers:
        raise RequestException("the answer broke off in its headers")  # which http.client takes for their end
    return bytes(body)
