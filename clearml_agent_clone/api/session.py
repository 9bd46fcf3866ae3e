"""A logged-in connection to the server: one call in, its data or a typed error out."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import attrs

from clearml_agent_clone import __version__
from clearml_agent_clone.api.access import ONCE, Retry, ServerAccess, Timeout
from clearml_agent_clone.api.answers import Unauthorized, read_answer, wrong_answer
from clearml_agent_clone.api.errors import NotClearML
from clearml_agent_clone.api.lines import add_up, pieces
from clearml_agent_clone.api.login import Login
from clearml_agent_clone.api.outage import Outage
from clearml_agent_clone.api.patience import Attempt, Patience
from clearml_agent_clone.api.token import ServerInfo, Token
from clearml_agent_clone.api.traffic import Traffic
from clearml_agent_clone.api.transport import Request, Reuse, Transport

__all__ = ["LEVEL", "ONCE", "Retry", "ServerAccess", "ServerInfo", "Session", "Timeout"]

LEVEL = (2, 34)
"""The API level that this client was written for; a newer server is spoken to at this one."""

_WORDS = ("status_reason", "status_message")
_ADDING = frozenset(
    {
        "auth.create_credentials",
        "models.create",
        "projects.create",
        "queues.add_task",
        "queues.create",
        "queues.move_task_backward",
        "queues.move_task_forward",
        "tasks.clone",
        "tasks.create",
        "tasks.enqueue",
    }
)
"""Calls that do more, or fail, when sent twice. Each goes over a connection of its own, so that it cannot be caught by
the server's closing of an idle one."""

ONE_TIME = _ADDING | {"queues.get_next_task"}
"""Calls that are not repeated when it is unknown whether the server acted on them; the caller is told instead."""

_LARGE = 15_000
_LARGE_CONNECT = 30.0
_STOP_LOOK = 5.0
_STOP_STEP = 0.1
_STOP_GRACE = 3.0


@final
class Session:
    """Calls to one server; safe for several threads. It logs in at the first call.

    Args:
        access: where the server is and who we are.
        host_name: name of this machine, sent along for the server's records.
        stop: when set, nothing waits any more: a pause between attempts ends with the error that caused it, an
            interruptible call with ``Cancelled``, and whatever was under way and is not answered within three seconds
            with ``ServerUnreachable``. Calls still work, so that a stopping agent can say goodbye. It may be cleared.
        known: a ClearML server has answered at this address before, though not to this session: if something else
            answers now, it is taken for an outage and not for a wrong address.
        reload: gets the access anew when the server refuses our credentials: they may have been replaced in the
            configuration meanwhile. Only its credentials count.
        clock: Unix seconds.
        monotonic: seconds, for the pauses while the server is away.
        wait: waits so many seconds and tells whether to stop; the default waits on ``stop``, and for the server.
        rng: source of jitter.

    Attributes:
        outage: what is known about the server's being away.
        hide: masks secrets in the words that a task's status is told with, which everybody can read.
    """

    def __init__(
        self,
        access: ServerAccess,
        *,
        host_name: str = "",
        stop: threading.Event | None = None,
        known: bool = False,
        reload: Callable[[], ServerAccess | None] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.access = access
        self.hide: Callable[[str], str] = str
        self.traffic = Traffic()
        self._may_stop = stop is not None
        self._stop = stop or threading.Event()
        self._transport = Transport(access)
        self._headers = _own_headers(host_name)
        chance = rng or random.Random()  # noqa: S311 - jitter is no secret
        self.outage = Outage(access.url, chance, monotonic=monotonic)
        self._patience = Patience(self.outage, self._stop, chance, wait)
        self._login = Login(
            access, self._transport, self._headers, self._patience, clock=clock, known=known, reload=reload
        )
        self._closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._watcher_lock = threading.Lock()

    @property
    def server(self) -> ServerInfo:
        """What the server told about itself when we logged in; logs in if that has not happened yet."""
        return self._login.valid(self.access.retry).server

    @property
    def token(self) -> str:
        """A bearer token that is valid now, for a process that is to act as we do."""
        return self._login.valid(self.access.retry).text

    def login(self, *, retry: Retry | None = None) -> ServerInfo:
        """Log in if we are not, at the start of a command; by default with the patience of ``login_retry``.

        Raises:
            ServerUnreachable, ServerBusy: no login within the patience.
            CredentialsRefused: the server does not know us.
            NotClearML: something else answers at this address.
        """
        return self._login.valid(retry or self.access.login_retry).server

    def call(
        self,
        endpoint: str,
        body: Mapping[str, Any] | None = None,
        *,
        version: str | None = None,
        retry: Retry | None = None,
        timeout: Timeout | None = None,
        repeatable: bool | None = None,
        interruptible: bool = False,
    ) -> dict[str, Any]:
        """Call ``endpoint`` and return the answer's ``data``.

        Args:
            endpoint: such as ``tasks.get_all``.
            body: the request's fields.
            version: API level to speak, such as ``2.13``; by default the server's, and none above ``LEVEL``.
            retry: patience; by default that of the access.
            timeout: by default that of the access.
            repeatable: whether sending it twice is as good as once; by default unless it is in ``ONE_TIME``.
            interruptible: ``stop`` and ``interrupt`` give the call up while the server holds it.

        Raises:
            ServerUnreachable, ServerBusy: no answer within the patience.
            CredentialsRefused: the login is not valid, and a new one was refused.
            EndpointMissing, InvalidRequest: the server refuses the call.
            Cancelled: an interruptible call was given up.
        """
        fields = dict(body) if body else {}
        fields.update((name, self.hide(fields[name])) for name in _WORDS if isinstance(fields.get(name), str))
        data = json.dumps(fields, separators=(",", ":")).encode()
        repeats = endpoint not in ONE_TIME if repeatable is None else repeatable
        self._watch_stop()
        cancel = self._stop if interruptible else None
        manner = _Manner(
            timeout=timeout or self._timeout_for(data),
            version=version,
            reuse=Reuse.YES if repeats else Reuse.NO if endpoint in _ADDING else Reuse.REPORT,
            cancel=cancel,
        )
        how = Attempt(endpoint, repeats, self._probe if interruptible else None)
        return self._patience.persist(lambda: self._send(endpoint, data, manner), retry or self.access.retry, how)

    def send_lines(
        self,
        endpoint: str,
        lines: Sequence[bytes],
        *,
        retry: Retry | None = None,
        acknowledged: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """Send JSON lines, in as many requests as ``max_request_size`` makes necessary.

        Args:
            endpoint: such as ``events.add_batch``.
            lines: one JSON object each, without line break.
            retry: patience with each of the requests.
            acknowledged: called with the number of lines of each request that was accepted. After an error of a later
                one the caller knows from it what need not be sent again.

        Returns:
            The answers together: numbers are added up, those in ``errors_info`` too.

        Raises:
            As ``call`` does. A request that the server may have taken is never repeated here, because lines have no
            identity and would be there twice: the error's ``may_have_acted`` leaves it to the caller.
        """
        total: dict[str, Any] = {}
        self._watch_stop()
        how = Attempt(endpoint, repeats=False)
        for piece in pieces(lines, self.access.max_request_size):
            data = b"\n".join(piece)
            manner = _Manner(self._timeout_for(data), "application/json-lines", reuse=Reuse.REPORT)

            def attempt(data: bytes = data, manner: _Manner = manner) -> dict[str, Any]:
                return self._send(endpoint, data, manner)

            add_up(total, self._patience.persist(attempt, retry or self.access.retry, how))
            if acknowledged is not None:
                acknowledged(len(piece))
        return total

    def interrupt(self) -> None:
        """Give up every interruptible call that the server holds; it raises ``Cancelled``. From any thread."""
        self._transport.interrupt()

    def close(self) -> None:
        """Close the connections."""
        self._closed.set()
        self._transport.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, endpoint: str, data: bytes, manner: _Manner) -> dict[str, Any]:
        with self.traffic.observe(endpoint):
            return self._send_with_token(endpoint, data, manner)

    def _send_with_token(self, endpoint: str, data: bytes, manner: _Manner) -> dict[str, Any]:
        """One sending with a valid token; a second one, with a new token, when the server does not know the first."""
        token = self._login.valid(ONCE, cancel=manner.cancel)
        try:
            return self._send_as(token, endpoint, data, manner)
        except Unauthorized:
            token = self._login.valid(ONCE, refused=token, cancel=manner.cancel)
        try:
            return self._send_as(token, endpoint, data, manner)
        except Unauthorized as error:
            raise self._login.refusal(error) from None

    def _send_as(self, token: Token, endpoint: str, data: bytes, manner: _Manner) -> dict[str, Any]:
        headers = {**self._headers, "Content-Type": manner.content_type, "Authorization": f"Bearer {token.text}"}
        request = Request(_path(endpoint, manner.version, token.server), headers, data, manner.timeout)
        answer = self._transport.send(request, reuse=manner.reuse, stop=manner.cancel)
        try:
            return read_answer(answer, endpoint, self.access)
        except NotClearML as error:
            raise wrong_answer(error) from None  # it has logged us in, so this is not a wrong address

    def _probe(self) -> None:
        """Ask the server for something that it does not hold."""
        with self.traffic.observe("auth.login"):
            self._login.renew()

    def _timeout_for(self, data: bytes) -> Timeout:
        timeout = self.access.timeout
        return Timeout(max(timeout.connect, _LARGE_CONNECT), timeout.read) if len(data) > _LARGE else timeout

    def _watch_stop(self) -> None:
        """Where the caller may set ``stop``, have a thread that waits for that: an event cannot call us."""
        if not self._may_stop:
            return
        with self._watcher_lock:
            if self._watcher is None:
                self._watcher = threading.Thread(
                    target=_give_up_on_stop,
                    args=(self._stop, self._closed, self._transport),
                    name="api-stop",
                    daemon=True,
                )
                self._watcher.start()


@attrs.frozen
class _Manner:
    """How a call is sent."""

    timeout: Timeout
    content_type: str = "application/json"
    version: str | None = None
    reuse: Reuse = Reuse.YES
    cancel: threading.Event | None = None


def _give_up_on_stop(stop: threading.Event, closed: threading.Event, transport: Transport) -> None:
    """Whenever ``stop`` is set: give up what the server holds at once, and soon all that was under way by then."""
    while not closed.is_set():
        if not stop.wait(_STOP_LOOK):
            continue
        begun_before = time.monotonic()
        transport.interrupt()
        while stop.is_set() and not closed.wait(_STOP_STEP):
            if time.monotonic() > begun_before + _STOP_GRACE:
                transport.interrupt(begun_before)


def _own_headers(host_name: str) -> dict[str, str]:
    host = "".join(c if c.isascii() and c.isprintable() else "_" for c in host_name)
    agent = f"api-{__version__}"
    headers = {
        "User-Agent": f"clearml-agent-clone/{__version__}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip, deflate",
        "X-ClearML-Agent": agent,
        "X-Trains-Agent": agent,
    }
    return {**headers, "X-ClearML-Worker": host, "X-Trains-Worker": host} if host else headers


def _path(endpoint: str, version: str | None, server: ServerInfo) -> str:
    if version is not None:
        return f"/v{version}/{endpoint}"
    if server.api_version == (0, 0):
        return f"/{endpoint}"
    major, minor = min(server.api_version, LEVEL)
    return f"/v{major}.{minor}/{endpoint}"
