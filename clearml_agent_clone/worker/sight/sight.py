"""What a daemon opens so that others can see how it is."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Generic, TypeVar, final

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.worker.sight.http import Http, Page, json_page
from clearml_agent_clone.worker.sight.metrics import CONTENT_TYPE, render
from clearml_agent_clone.worker.sight.responder import SOCKET_NAME, Protocol, Responder, listen_tcp, listen_unix
from clearml_agent_clone.worker.sight.runs import RunView, runs_in
from clearml_agent_clone.worker.sight.snapshot import DaemonSnapshot

log = logging.getLogger(__name__)

_FRESH = 1.0  # seconds for which an answer is good: however many ask, it is made once

_Value = TypeVar("_Value")


@attrs.frozen
class Address:
    """Where ``/metrics`` and ``/healthz`` are."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, default_host: str) -> Address:
        """``PORT``, ``HOST:PORT`` or ``[IPV6]:PORT``; host names are not looked up here.

        Raises:
            UserError: it is something else.
        """
        host, _, port = text.strip().rpartition(":")
        number = int(port) if port.isascii() and port.isdigit() else -1
        if not 0 <= number <= 65535:
            raise UserError(
                f'metrics port: "{text}" is no port',
                remedy="Give a number from 1 to 65535, or HOST:PORT",
                code="metrics-port",
            )
        return cls(host.strip("[]") or default_host, number)


@final
class Sight:
    """Answers ``clearml-agent status`` and, if it is given an address, Prometheus and health checks.

    Args:
        folder: the worker's; the socket for ``status`` is made here.
        state_dir: runs are below it, and its disk is measured.
        snapshot: how the daemon is; called in a thread of ours.
        redact: what texts of foreign origin pass.
        http: where to open ``/metrics`` and ``/healthz``; None opens none.
    """

    def __init__(
        self,
        folder: Path,
        state_dir: Path,
        snapshot: Callable[[], DaemonSnapshot],
        redact: Callable[[str], str],
        http: Address | None = None,
    ) -> None:
        self._state_dir = state_dir
        self._socket = folder / SOCKET_NAME
        self._redact = redact
        self._look = _Kept(snapshot)
        self._page = _Kept(self._render)
        self._responder = Responder()
        if http is not None:
            pages = {"/metrics": self._metrics, "/healthz": self._health}
            self._responder.listen(listen_tcp(http.host, http.port), Http(pages))
        try:
            self._responder.listen(listen_unix(folder), _Telling(snapshot, redact))
        except UserError as error:  # a file system without sockets: status then shows what is on the disk
            log.warning("%s", error)

    def start(self) -> None:
        self._responder.start()

    def stop(self) -> None:
        """Answer no more."""
        self._responder.stop()
        with contextlib.suppress(OSError):  # a folder that went away has taken it along
            self._socket.unlink()

    def __enter__(self) -> Sight:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _render(self) -> bytes:
        snapshot = self._look()
        return render(snapshot, _of(snapshot, self._state_dir), self._state_dir).encode()

    def _metrics(self) -> Page:
        return Page(self._page(), CONTENT_TYPE)

    def _health(self) -> Page:
        snapshot = self._look().safe(self._redact)
        red = snapshot.unhealthy
        body = {
            "healthy": not red,
            "worker": snapshot.worker_id,
            "state": snapshot.state.value,
            "problems": [
                {"loop": loop.name, "late_seconds": loop.late_seconds, "error": loop.last_error} for loop in red
            ],
        }
        return json_page(body, HTTPStatus.SERVICE_UNAVAILABLE if red else HTTPStatus.OK)


class _Telling(Protocol):
    """The snapshot as JSON for whoever connects; the file's mode says who may."""

    def __init__(self, look: Callable[[], DaemonSnapshot], redact: Callable[[str], str]) -> None:
        self._look = look
        self._redact = redact

    def opening(self) -> bytes:
        return json.dumps(self._look().safe(self._redact).to_record()).encode()


class _Kept(Generic[_Value]):
    """Calls ``make`` at most once a second."""

    def __init__(self, make: Callable[[], _Value], clock: Callable[[], float] = time.monotonic) -> None:
        self._make = make
        self._clock = clock
        self._value: _Value | None = None
        self._until = -1.0

    def __call__(self) -> _Value:
        now = self._clock()
        if self._value is None or now >= self._until:
            self._value = self._make()
            self._until = now + _FRESH
        return self._value


def _of(snapshot: DaemonSnapshot, state_dir: Path) -> Sequence[RunView]:
    return [run for run in runs_in(state_dir / "runs") if run.owner_id == snapshot.worker_id]
