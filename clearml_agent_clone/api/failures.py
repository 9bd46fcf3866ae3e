"""A failed exchange in words: which of the many ways to get no answer it was, and what to do about it."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator
from urllib.parse import urlsplit

from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError, ReadTimeoutError

from clearml_agent_clone.api.access import ServerAccess, Timeout
from clearml_agent_clone.api.errors import ServerUnreachable


def explain(
    error: BaseException, access: ServerAccess, timeout: Timeout, *, sent: bool, proxy: str = ""
) -> ServerUnreachable:
    """``error`` of a request to ``access.url`` as a ``ServerUnreachable`` that says what happened.

    Args:
        error: what requests, urllib3 or the socket raised.
        access: names the server.
        timeout: names how long was waited.
        sent: the request went out before it failed.
        proxy: the proxy's URL, or an empty string.
    """
    causes = list(causes_of(error))
    if any(isinstance(cause, ProxyError) for cause in causes):
        return _unreachable(
            f"the proxy {_host(proxy)} did not connect us with {access.url}: {_last_words(causes)}",
            "Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY",
            "proxy-failed",
        )
    place = f"{access.url} (through the proxy {_host(proxy)})" if proxy else access.url
    if any(isinstance(cause, NewConnectionError) for cause in causes):
        return _not_connected(causes, place)
    if any(isinstance(cause, ConnectTimeoutError) for cause in causes) or (
        not sent and any(isinstance(cause, ReadTimeoutError | TimeoutError) for cause in causes)
    ):
        return _unreachable(
            f"no connection to {place} within {timeout.connect:g} s",
            "Check the address and any firewall between",
            "connect-timeout",
        )
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not sent:
            return _no_tls(cause, place)
    if any(isinstance(cause, ReadTimeoutError | TimeoutError) for cause in causes):
        message = f"{place} did not answer within {timeout.read:g} s"
        return _unreachable(message, "Look at the server's load and its log", "read-timeout", sent=sent)
    message = f"the connection to {place} broke before the answer was complete: {_last_words(causes)}"
    return _unreachable(message, "Look whether the server was restarted", "connection-lost", sent=sent)


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """``error`` and all that is behind it, the innermost last.

    urllib3 keeps a reason in the chain, requests in the arguments. What was being handled when somebody called us
    (the context) is not followed: it is no part of our failure.
    """
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        todo.extend(item for item in (current.__cause__, *current.args) if isinstance(item, BaseException))


def _not_connected(causes: list[BaseException], place: str) -> ServerUnreachable:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            message = f"the name of {place} cannot be resolved: {cause.strerror or cause}"
            return _unreachable(message, "Check the host in api.api_server and the DNS of this machine", "host-unknown")
        if isinstance(cause, ConnectionRefusedError):
            message = f"{place} refused the connection"
            return _unreachable(message, "Is the server running, and the port right?", "connection-refused")
        if isinstance(cause, OSError) and cause.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
            message = f"no route to {place}: {cause.strerror}"
            return _unreachable(message, "Check the network of this machine", "no-route")
    message = f"no connection to {place}: {_last_words(causes)}"
    return _unreachable(message, "Check the address and the network", "connect-failed")


def _no_tls(cause: ssl.SSLError, place: str) -> ServerUnreachable:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return _unreachable(
            f"the certificate of {place} is not trusted: {cause.verify_message}",
            "Name the CA file in api.verify_certificate, or set it to false to do without the check",
            "certificate-untrusted",
            passing=False,
        )
    return _unreachable(
        f"no encrypted connection to {place}: {cause.reason or cause}",
        "If the server speaks plain HTTP, write http:// in api.api_server",
        "tls-failed",
        passing=False,
    )


def _unreachable(
    message: str, remedy: str, code: str, *, sent: bool = False, passing: bool = True
) -> ServerUnreachable:
    return ServerUnreachable(message, remedy=remedy, code=code, may_have_acted=sent, passing=passing)


def _last_words(causes: list[BaseException]) -> str:
    """The innermost reason, on one line. It is a system's or a library's wording and holds no part of our request."""
    words = str(causes[-1]).strip() or type(causes[-1]).__name__
    return " ".join(words.split())[:200]


def _host(proxy: str) -> str:
    parts = urlsplit(proxy)
    return f"{parts.hostname or '?'}{f':{parts.port}' if parts.port else ''}"
