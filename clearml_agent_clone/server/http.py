"""The API's HTTP side: a request becomes a call of an endpoint, its result the envelope."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sqlite3
from typing import Any

from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from clearml_agent_clone.server.arguments import parse_arguments
from clearml_agent_clone.server.auth import COOKIE, Identity
from clearml_agent_clone.server.envelope import HEADERS, Meta
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import NEWEST, REGISTRY, Endpoint, Reply, Request, parse_version
from clearml_agent_clone.server.state import ServerState

_PATH = re.compile(r"/(?:v(?P<version>\d{1,4}\.\d{1,4})/)?(?P<name>[a-z]\w*\.[a-z]\w*)/?\Z", re.ASCII)
_LARGEST_BODY = 128 * 1024 * 1024
_NOBODY = Identity("", "", "", "")
_log = logging.getLogger(__name__)


class ApiApp:
    """The ASGI application of the API port."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            response = await self._respond(HttpRequest(scope, receive))
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _respond(self, http: HttpRequest) -> Response:
        if http.method == "OPTIONS":
            return Response(b"", 200, HEADERS)
        if "content-encoding" in http.headers:
            return PlainTextResponse("Content encoding is not supported", 415, HEADERS)
        packed = "gzip" in http.headers.get("accept-encoding", "")
        meta = Meta(trx=_twin(http, "trx"), packed=packed)
        try:
            return await self._dispatch(http, meta)
        except ApiFault as fault:
            return meta.fault(fault)
        except ClientDisconnect:
            raise
        except sqlite3.OperationalError as error:
            _log.error("%s: %s", meta.name, error)
            full = "disk is full" in str(error)
            return meta.fault(ApiFault(500, 4, "Low disk space") if full else ApiFault(500, 100, "Data error"))
        except Exception:  # noqa: BLE001 - the client must get an envelope, and the server go on, whatever a handler does
            _log.exception("%s failed", meta.name)
            return meta.fault(ApiFault(500, 0, "General server error"))

    async def _dispatch(self, http: HttpRequest, meta: Meta) -> Response:
        path = _PATH.match(http.url.path)
        if path is None:
            raise ApiFault(400, 0, f"Invalid request path {http.url.path}")
        meta.name = path["name"]
        meta.requested = parse_version(path["version"]) if path["version"] else NEWEST
        found = REGISTRY.find(path["name"], meta.requested)
        meta.actual = found.since
        user = identify(self._state, http) if found.auth else _NOBODY
        raw = await _read(http)
        if not found.is_async:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._state.threads, self._answer, http, meta, found, user, raw)
        request, body = self._understand(http, meta, user, raw)
        return _finish(meta, request, await found.async_handler(request, body))

    def _answer(self, http: HttpRequest, meta: Meta, found: Endpoint, user: Identity, raw: bytes) -> Response:
        # In a thread: parsing and packing megabytes must not hold up the other callers.
        try:
            request, body = self._understand(http, meta, user, raw)
            return _finish(meta, request, request.run_here(found.sync_handler, body, found.writes))
        except ApiFault as fault:
            return meta.fault(fault)

    def _understand(self, http: HttpRequest, meta: Meta, user: Identity, raw: bytes) -> tuple[Request, dict[str, Any]]:
        assert meta.requested is not None
        assert meta.actual is not None
        kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
        in_lines = kind == "application/json-lines"
        request = Request(
            state=self._state,
            user=user,
            worker=_twin(http, "worker"),
            now=self._state.config.clock(),
            version=meta.actual,
            requested=meta.requested,
            ip=_client(http),
            lines=tuple(line for line in _lines(raw) if line.strip()) if in_lines else (),
            gone=lambda: _wait_gone(http),
        )
        return request, _body(http, kind, b"" if in_lines else raw)


def identify(state: ServerState, http: HttpRequest) -> Identity:
    """Who sent ``http``. Raises ``ApiFault`` 401. For all three ports."""
    cookie = http.cookies.get(COOKIE, "")
    if cookie and http.headers.get("sec-fetch-site", "") == "cross-site":
        cookie = ""  # a browser was sent here by a foreign page: its cookie is no consent to a change
    return state.auth.authenticate(http.headers.get("authorization", ""), cookie)


def _finish(meta: Meta, request: Request, reply: Reply) -> Response:
    response = reply if isinstance(reply, Response) else meta.success(reply)
    for name, value in {**HEADERS, **request.response_headers}.items():
        response.headers[name] = value
    return response


async def _read(http: HttpRequest) -> bytes:
    raw = bytearray()
    async for chunk in http.stream():
        raw += chunk
        if len(raw) > _LARGEST_BODY:
            raise ApiFault(413, 0, f"The request is larger than {_LARGEST_BODY} bytes")
    return bytes(raw)


def _body(http: HttpRequest, kind: str, raw: bytes) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if kind == "application/x-www-form-urlencoded":
        body = parse_arguments(raw.decode(errors="replace"))
    elif raw.strip():
        try:
            parsed = json.loads(raw, parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise ApiFault(400, 0, f"Failed parsing the request's JSON: {error}") from None
        if not isinstance(parsed, dict):
            raise ApiFault(400, 0, "The request's JSON is not an object")
        body = parsed
    if http.url.query:
        body = {**body, **parse_arguments(http.url.query)}
    return body


def _lines(raw: bytes) -> list[bytes]:
    return raw.splitlines() if b"\r" in raw else raw.split(b"\n")  # which is many times as fast


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not JSON")  # NaN and its kin: stored, they would make every later answer unreadable


def _twin(http: HttpRequest, name: str) -> str:
    value: str = http.headers.get(f"x-clearml-{name}") or http.headers.get(f"x-trains-{name}") or ""
    return value


def _client(http: HttpRequest) -> str:
    forwarded = http.headers.get("x-forwarded-for", "").partition(",")[0].strip()
    return forwarded or http.headers.get("x-real-ip", "") or (http.client.host if http.client else "")


async def _wait_gone(http: HttpRequest) -> bool:
    while (await http.receive())["type"] != "http.disconnect":
        pass
    return True
