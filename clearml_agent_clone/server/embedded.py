"""A server inside this process, in a thread of its own: for tests and for the demo."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.server.app import RunningServer, open_server
from clearml_agent_clone.server.client_config import client_config
from clearml_agent_clone.server.config import ServerConfig
from clearml_agent_clone.server.state import ServerState
from clearml_agent_clone.util.files import write_atomic

_PATIENCE = 10.0


@attrs.frozen
class EmbeddedServer:
    """Where a running server is and how to log in. ``conf_path`` is a clearml.conf for it, mode 0600."""

    api_url: str
    web_url: str
    files_url: str
    access_key: str
    secret_key: str
    conf_path: Path
    state: ServerState


class ServerThread:
    """Runs a server in a daemon thread. ``start`` returns when it answers, ``stop`` when it is gone."""

    def __init__(self, config: ServerConfig) -> None:
        self._server: RunningServer = open_server(config)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="clearml-server", daemon=True)
        self._ready = threading.Event()

    def start(self) -> EmbeddedServer:
        self._thread.start()
        if not self._ready.wait(_PATIENCE):
            raise Fatal(f"the server did not start within {_PATIENCE:.0f} s", code="server-start")
        state = self._server.state
        conf = state.config.data / "clearml.conf"
        write_atomic(conf, client_config(state.addresses, state.auth.pair), durable=False)
        pair, addresses = state.auth.pair, state.addresses
        return EmbeddedServer(
            addresses.api, addresses.web, addresses.files, pair.access_key, pair.secret_key, conf, state
        )

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._server.stop)
            self._thread.join(_PATIENCE)

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._server.serve(self._ready.set))
        finally:
            self._ready.set()
            self._loop.close()


@contextlib.contextmanager
def running_server(data: Path, **options: Any) -> Iterator[EmbeddedServer]:
    """A server on free ports with its data in ``data``, stopped when the block ends.

    Args:
        data: the data folder; using it again brings the old content back.
        options: further fields of ``ServerConfig``.
    """
    ports = {"api_port": 0, "web_port": 0, "files_port": 0}
    thread = ServerThread(ServerConfig(data, **{**ports, **options}))
    server = thread.start()
    try:
        yield server
    finally:
        thread.stop()
