"""One thread that answers whoever asks the daemon about itself.

It waits in one place for all its clients, so an idle daemon spends nothing on it, and slow or many clients take
neither threads nor memory from the daemon: there are so many connections and no more, each has a few seconds, and
what is rendered is kept for a second.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError

log = logging.getLogger(__name__)

SOCKET_NAME = "status.sock"
PATIENCE = 5.0
"""Seconds that one client has in all."""

_MOST_CLIENTS = 16
_WAITING = 128
_LONGEST_REQUEST = 8192
_LINGER = 1.0
_PAUSE = 1.0  # before accepting again when the system has no descriptor for us


class Protocol:
    """What is said on a connection. ``opening`` is said without being asked."""

    def opening(self) -> bytes | None:
        """The whole answer, for a client that need not ask; None waits for a request."""
        return None

    def answer(self, request: bytes) -> bytes | None:
        """The whole answer to what has come so far; None waits for more, as one does that tells all unasked."""
        del request
        return None


@attrs.define(eq=False)
class _Listener:
    socket: socket.socket
    protocol: Protocol
    clients: int = 0
    paused_until: float = 0.0
    listening: bool = False


@attrs.define(eq=False)
class _Client:
    socket: socket.socket
    listener: _Listener
    deadline: float
    heard: bytearray = attrs.Factory(bytearray)
    to_say: memoryview | None = None
    done: bool = False


class Responder:
    """Answers on any number of sockets in one thread of its own.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._selector = selectors.DefaultSelector()
        self._listeners: list[_Listener] = []
        self._clients: set[_Client] = set()
        self._wake_read, self._wake_write = os.pipe()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="sight", daemon=True)

    def listen(self, listener: socket.socket, protocol: Protocol) -> None:
        """Answer on ``listener`` by ``protocol``; before ``start``. The socket is ours from now on."""
        listener.setblocking(False)
        self._listeners.append(_Listener(listener, protocol))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close every socket; safe without ``start``."""
        self._stopping = True
        os.write(self._wake_write, b"x")
        if self._thread.ident is not None:
            self._thread.join(2.0)
        for client in list(self._clients):
            self._drop(client)
        for listener in self._listeners:
            listener.socket.close()
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        while not self._stopping:
            self._choose_listeners()
            for key, _ in self._selector.select(self._timeout()):
                if isinstance(key.data, _Listener):
                    self._accept(key.data)
                elif isinstance(key.data, _Client):
                    self._serve(key.data)
            now = self._clock()
            for client in [client for client in self._clients if client.deadline <= now]:
                self._drop(client)

    def _choose_listeners(self) -> None:
        """Look at those that may have another client; the others' wait in the kernel."""
        now = self._clock()
        for listener in self._listeners:
            wanted = listener.clients < _MOST_CLIENTS and listener.paused_until <= now
            if wanted and not listener.listening:
                self._selector.register(listener.socket, selectors.EVENT_READ, listener)
            elif listener.listening and not wanted:
                self._selector.unregister(listener.socket)
            listener.listening = wanted

    def _timeout(self) -> float | None:
        times = [client.deadline for client in self._clients]
        times += [listener.paused_until for listener in self._listeners if not listener.listening]
        future = [moment for moment in times if moment > 0]
        return max(0.0, min(future) - self._clock()) if future else None

    def _accept(self, listener: _Listener) -> None:
        try:
            connection, _ = listener.socket.accept()
        except BlockingIOError:
            return  # it has left again
        except OSError as error:
            log.warning("nobody can ask for our status just now: %s", error)
            listener.paused_until = self._clock() + _PAUSE
            return
        connection.setblocking(False)
        client = _Client(connection, listener, self._clock() + PATIENCE)
        listener.clients += 1
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)
        opening = self._ask(listener.protocol.opening)
        if opening is not None:
            self._say(client, opening)

    def _serve(self, client: _Client) -> None:
        try:
            if client.to_say:
                self._go_on(client)
                return
            data = client.socket.recv(_LONGEST_REQUEST)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        if not data:
            self._drop(client)
        elif not client.done:
            client.heard += data
            answer = self._ask(lambda: client.listener.protocol.answer(bytes(client.heard)))
            if answer is not None:
                self._say(client, answer)

    def _ask(self, make: Callable[[], bytes | None]) -> bytes | None:
        try:
            return make()
        except Exception:  # a bug in an answer must not end the answering
            log.exception("an answer about our status failed")
            return b""

    def _say(self, client: _Client, answer: bytes) -> None:
        client.done = True
        client.to_say = memoryview(answer)
        self._go_on(client)

    def _go_on(self, client: _Client) -> None:
        try:
            while client.to_say:
                client.to_say = client.to_say[client.socket.send(client.to_say) :]
            client.socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._selector.modify(client.socket, selectors.EVENT_WRITE, client)
            return
        except OSError:
            self._drop(client)
            return
        # closing at once would take the answer away from a client that is still sending
        client.deadline = min(client.deadline, self._clock() + _LINGER)
        self._selector.modify(client.socket, selectors.EVENT_READ, client)

    def _drop(self, client: _Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
            client.listener.clients -= 1
            self._selector.unregister(client.socket)
        client.socket.close()


def listen_unix(folder: Path) -> socket.socket:
    """Listen on ``status.sock`` in ``folder``, mode 0600 from its first moment on.

    Raises:
        UserError: the folder cannot hold a socket.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    handle = -1
    try:
        os.fchmod(listener.fileno(), 0o600)  # Linux makes the file with the mode of the socket
        (folder / SOCKET_NAME).unlink(missing_ok=True)  # left by whoever had the folder before
        handle = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        listener.bind(short_address(handle))
        listener.listen(_WAITING)
    except OSError as error:
        listener.close()
        raise UserError(
            f"{folder / SOCKET_NAME} cannot be made: {error.strerror or error}",
            remedy="Set CLEARML_AGENT_STATE_DIR to a folder that can hold sockets",
            code="no-status-socket",
        ) from error
    finally:
        if handle >= 0:
            os.close(handle)
    return listener


def short_address(folder: int) -> str:
    """The socket's address by way of the open folder: a socket's path must be shorter than 108 bytes."""
    return f"/proc/self/fd/{folder}/{SOCKET_NAME}"


def listen_tcp(host: str, port: int) -> socket.socket:
    """Listen on ``host``:``port``.

    Raises:
        UserError: somebody else does, or the address is not ours.
    """
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_WAITING)
    except (OSError, OverflowError) as error:
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.close()
        raise UserError(
            f"metrics port {host}:{port} cannot be opened: {getattr(error, 'strerror', None) or error}",
            remedy="Choose another one with --metrics-port or agent.metrics_port; each agent of a machine needs its own",
            code="metrics-port",
        ) from error
    return listener
