"""One exchange over HTTP from the inside: what its connection sees of it, and how another thread ends it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool


class Exchange:
    """One request on its way: what the connection tells and what may be done to it from another thread.

    ``interruptible``: whoever sent it knows that it may be given up.
    """

    def __init__(self, *, interruptible: bool = False) -> None:
        self.interruptible = interruptible
        self.begun = time.monotonic()
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
    exchange: Exchange | None = None


here = _Here()
"""The exchange that the present thread is about; connections look here, as nothing else leads from them to it."""


class _Observed:
    """What both kinds of connection add: they tell the exchange of their thread how far it is."""

    answered = 0
    sock: Any

    def connect(self) -> None:
        self.answered = 0  # a connection object outlives its socket
        super().connect()  # type: ignore[misc]  # the connection class stands behind it

    def request(self, *args: Any, **options: Any) -> None:
        if here.exchange is not None:
            here.exchange.sent = True
            here.exchange.reused = self.sock is not None and self.answered > 0
        super().request(*args, **options)  # type: ignore[misc]  # as above

    def getresponse(self, *args: Any, **options: Any) -> Any:
        exchange = here.exchange
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


POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _PlainPool, "https": _EncryptedPool}
"""Pools of observed connections, by the scheme of their URLs."""
