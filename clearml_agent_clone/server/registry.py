"""The endpoints: a name, the versions they exist in, and the function that answers."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
from starlette.responses import Response

from clearml_agent_clone.server.auth import Identity
from clearml_agent_clone.server.config import API_VERSION
from clearml_agent_clone.server.faults import ApiFault

if TYPE_CHECKING:
    from clearml_agent_clone.server.state import ServerState

__all__ = ["REGISTRY", "ApiFault", "Call", "Endpoint", "Reply", "Request", "Version", "endpoint", "parse_version"]

Reply = dict[str, Any] | Response
"""``data`` of the envelope, or a whole response for the few endpoints that do not answer in an envelope."""

Version = tuple[int, int]

_SINCE_EVER: Version = (1, 0)


@attrs.frozen(kw_only=True)
class Request:
    """One request as far as an endpoint is concerned with it.

    ``worker`` is the ``X-ClearML-Worker`` header, ``version`` the version of the endpoint that was chosen, ``lines``
    the lines of a json-lines body (unparsed, blank ones left out), ``now`` the server's clock.
    """

    state: ServerState
    user: Identity
    worker: str
    now: dt.datetime
    version: Version
    requested: Version
    ip: str = ""
    lines: tuple[bytes, ...] = ()
    gone: Callable[[], Awaitable[bool]] | None = None
    """For async handlers: waits until the client has hung up."""
    response_headers: dict[str, str] = attrs.Factory(dict)
    """Headers to add to the answer."""

    async def run(self, handler: Handler, body: dict[str, Any], *, writes: bool = False) -> Reply:
        """Run a plain handler in a thread and a transaction of its own; the way for async handlers to the database."""
        loop = asyncio.get_running_loop()
        fresh = attrs.evolve(self, now=self.state.config.clock())  # the caller may have waited for a minute
        return await loop.run_in_executor(self.state.threads, fresh.run_here, handler, body, writes)

    def run_here(self, handler: Handler, body: dict[str, Any], writes: bool) -> Reply:
        """Run a plain handler in this thread, in a transaction; what it left with ``after_commit`` follows."""
        later: list[Callable[[], None]] = []
        shared = {field.name: getattr(self, field.name) for field in attrs.fields(Request)}
        try:
            with self.state.db.write() if writes else self.state.db.read() as db:
                reply = handler(Call(**shared, db=db, later=later), body)
        except (OverflowError, UnicodeEncodeError, RecursionError) as error:
            # Numbers beyond 64 bits, halves of characters, bottomless nesting: data that nothing can be done with.
            raise ApiFault(400, 800, f"Data validation error ({error})") from None
        for callback in later:
            callback()
        return reply


@attrs.frozen(kw_only=True)
class Call(Request):
    """A request with the database connection of its transaction."""

    db: sqlite3.Connection
    later: list[Callable[[], None]]

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called once the transaction is on disk; not at all when it fails."""
        self.later.append(callback)


Handler = Callable[[Call, dict[str, Any]], Reply]
AsyncHandler = Callable[[Request, dict[str, Any]], Awaitable[Reply]]
AnyHandler = TypeVar("AnyHandler", bound=Callable[..., Any])


@attrs.frozen
class Endpoint:
    """One version of an endpoint."""

    name: str
    since: Version
    auth: bool
    writes: bool
    handler: Callable[..., Any]
    is_async: bool

    @property
    def sync_handler(self) -> Handler:
        return cast("Handler", self.handler)

    @property
    def async_handler(self) -> AsyncHandler:
        return cast("AsyncHandler", self.handler)


class Registry:
    """All endpoints, by name and version."""

    def __init__(self) -> None:
        self._endpoints: dict[str, list[Endpoint]] = {}

    def endpoint(
        self, name: str, *, since: str = "1.0", auth: bool = True, writes: bool = False
    ) -> Callable[[AnyHandler], AnyHandler]:
        """Register the decorated function as ``name`` from version ``since`` on.

        A plain function runs in a thread with a ``Call`` inside a transaction: a read-only snapshot, or, with
        ``writes``, the one writing transaction, which is on disk before the answer leaves. A coroutine function runs on
        the event loop with a ``Request`` and must not block; it reaches the database through ``Request.run``.
        """

        def register(handler: AnyHandler) -> AnyHandler:
            is_async = inspect.iscoroutinefunction(handler)
            added = Endpoint(name, parse_version(since), auth, writes, handler, is_async)
            versions = self._endpoints.setdefault(name, [])
            if any(known.since == added.since for known in versions):
                raise ValueError(f"endpoint {name} is registered twice since {since}")
            versions.append(added)
            versions.sort(key=lambda known: known.since, reverse=True)
            return handler

        return register

    def find(self, name: str, requested: Version) -> Endpoint:
        """The newest version of ``name`` not above ``requested``. Raises ``ApiFault`` 404/0."""
        for known in self._endpoints.get(name, ()):
            if known.since <= requested:
                return known
        asked = ".".join(map(str, requested))
        raise ApiFault(404, 0, f"Unable to find endpoint for name {name} and version {asked}")

    def names(self) -> Mapping[str, tuple[Version, ...]]:
        """Every endpoint with the versions it is registered for, newest first."""
        return {name: tuple(known.since for known in versions) for name, versions in sorted(self._endpoints.items())}


def parse_version(text: str) -> Version:
    """``2.14`` as numbers, so that 2.9 comes before 2.14. Raises ``ValueError`` for anything else."""
    major, minor = text.split(".")
    return int(major), int(minor)


NEWEST = parse_version(API_VERSION)

REGISTRY = Registry()
endpoint = REGISTRY.endpoint
