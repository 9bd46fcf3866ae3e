"""One process, one event loop, three ports."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import attrs
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.server import endpoints
from clearml_agent_clone.server.config import ServerConfig
from clearml_agent_clone.server.files.app import build_files
from clearml_agent_clone.server.first_content import first_content
from clearml_agent_clone.server.http import ApiApp
from clearml_agent_clone.server.state import ServerState, addresses, open_state
from clearml_agent_clone.server.watchdog import Watchdog
from clearml_agent_clone.server.web.app import build_web

__all__ = ["Apps", "RunningServer", "build_apps", "endpoints", "open_server"]

_KEEP_ALIVE = 120  # longer than any client's pause between two calls, so that none meets a closing connection
_LAST_WORDS = 3  # seconds that running calls get when the server stops
_BACKLOG = 1024


@attrs.frozen
class Apps:
    """The three applications."""

    api: ASGIApp
    web: ASGIApp
    files: ASGIApp


def build_apps(state: ServerState) -> Apps:
    """The applications over an open ``state``."""
    return Apps(ApiApp(state), build_web(state), build_files(state))


@attrs.frozen
class Sockets:
    """The three listening sockets; ``ports`` are those the system gave."""

    api: socket.socket
    web: socket.socket
    files: socket.socket

    @property
    def all(self) -> list[socket.socket]:
        return [self.api, self.web, self.files]

    def close(self) -> None:
        for one in self.all:
            one.close()


class _Uvicorn(uvicorn.Server):
    on_started: Callable[[], None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.on_started is not None:
            self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are the business of whoever started us: the command line, or nobody in a thread


class RunningServer:
    """A server whose ports are open; ``serve`` answers on them until ``stop``."""

    def __init__(self, config: ServerConfig, sockets: Sockets, state: ServerState) -> None:
        self.config = config
        self.state = state
        self._sockets = sockets
        apps = build_apps(state)
        by_port = {port_of(sockets.web): apps.web, port_of(sockets.files): apps.files}

        async def by_door(
            scope: Scope, receive: Receive, send: Callable[[MutableMapping[str, Any]], Awaitable[None]]
        ) -> None:
            app = by_port.get(scope["server"][1], apps.api)
            await app(scope, receive, send)

        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                _typed(by_door),
                http="auto",
                ws="none",
                lifespan="off",
                loop="asyncio",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE,
                timeout_graceful_shutdown=_LAST_WORDS,
            ),
        )

    async def serve(self, on_started: Callable[[], None] | None = None) -> None:
        """Answer until ``stop`` is called, then let running calls end and close everything.

        ``on_started`` is called once the server answers.
        """
        self._uvicorn.on_started = on_started
        watching = asyncio.ensure_future(self._watch())
        try:
            await self._uvicorn.serve(sockets=self._sockets.all)
        finally:
            watching.cancel()
            await asyncio.to_thread(self.state.close)

    async def _watch(self) -> None:
        clock = self.config.clock
        dog = Watchdog(self.state, clock())
        delay = self.config.watchdog_period
        while True:
            await asyncio.sleep(delay)
            delay = await asyncio.to_thread(dog.step, clock())

    def stop(self) -> None:
        """Begin to stop: waiting callers are answered at once. For the event loop only."""
        self.state.arrivals.close()
        self._uvicorn.should_exit = True


def open_server(config: ServerConfig) -> RunningServer:
    """Take the ports and open the data folder.

    Raises:
        UserError: a port is taken, the folder cannot be used or is in use.
    """
    sockets = _listen(config)
    try:
        state = open_state(config, addresses(config.host, *map(port_of, sockets.all)))
    except BaseException:  # the ports must be free again, whatever stopped us
        sockets.close()
        raise
    first_content(state)
    return RunningServer(config, sockets, state)


def port_of(one: socket.socket) -> int:
    """The port that ``one`` listens on."""
    return int(one.getsockname()[1])


def _typed(app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> Any:
    return app  # uvicorn's own ASGI types and Starlette's describe the same protocol in other words


def _listen(config: ServerConfig) -> Sockets:
    opened: list[socket.socket] = []
    wanted = (("--api-port", config.api_port), ("--web-port", config.web_port), ("--files-port", config.files_port))
    try:
        for option, port in wanted:
            opened.append(_bind(config.host, port, option))
    except UserError:
        for one in opened:
            one.close()
        raise
    return Sockets(*opened)


def _bind(host: str, port: int, option: str) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
        # Connections inherit it. asyncio sets it only on sockets made with an explicit protocol, and without it an
        # answer in two packets waits 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except socket.gaierror as error:
        raise UserError(
            f'--host "{host}" is not an address of this machine: {error.strerror}', code="bad-host"
        ) from None
    except OverflowError:
        raise UserError(
            f"{option} {port} is not a port", remedy="Choose one from 1 to 65535", code="bad-port"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"port {port} on {host} is in use", remedy=f"Choose another one with {option}", code="port-in-use"
            ) from None
        raise UserError(
            f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}",
            remedy=f"Choose another one with {option}, or another --host",
            code="cannot-listen",
        ) from error
    return listener
