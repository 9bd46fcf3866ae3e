"""The files port: ``POST /`` a form, ``PUT``, ``GET``, ``HEAD`` and ``DELETE`` a path, ``POST /delete_many``.

Nothing is served without credentials. What changes something wants them in the ``Authorization`` header, where the
SDK and the agent put them for every URL under ``api.files_server``. The cookie of the web page's login is enough for
reading, so that links work in a browser, and for no more: cookies know no ports, so a page on any other port of the
host could make a browser send ours.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from clearml_agent_clone.server.auth import COOKIE, Identity
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.files.delete import delete_file, delete_many
from clearml_agent_clone.server.files.paths import BadPath, find
from clearml_agent_clone.server.files.receive import (
    BadUpload,
    FileReceiver,
    FormReceiver,
    Receiver,
    boundary_of,
    clear_incoming,
)
from clearml_agent_clone.server.files.serve import SAFE_HEADERS, file_response, refusal
from clearml_agent_clone.server.state import ServerState

_PIECE = 512 * 1024  # bytes gathered before a thread writes them: one hop for many small chunks of the network
_LARGEST_LIST = 16 * 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def build_files(state: ServerState) -> ASGIApp:
    """The application of the files port over an open ``state``."""
    service = FilesService(state, state.config.files_dir.resolve())
    clear_incoming(service.root)
    return Starlette(
        routes=[
            Route("/", service.form, methods=["POST"]),
            Route("/", service.hello, methods=["GET", "HEAD"]),
            Route("/delete_many", service.delete_many, methods=["POST"]),
            Route("/{path:path}", service.read, methods=["GET", "HEAD"]),
            Route("/{path:path}", service.put, methods=["PUT"]),
            Route("/{path:path}", service.delete, methods=["DELETE"]),
        ],
        exception_handlers={
            ApiFault: _refused,
            BadPath: _bad,
            BadUpload: _bad,
            ClientDisconnect: _cut_short,
            OSError: _failed,
        },
    )


class FilesService:
    """The endpoints of the files port; ``root`` is the folder, free of symbolic links."""

    def __init__(self, state: ServerState, root: Path) -> None:
        self._state = state
        self.root = root

    async def hello(self, request: Request) -> Response:
        self._reader(request)
        return Response(b"ok\n", headers=SAFE_HEADERS, media_type="text/plain")

    async def read(self, request: Request) -> Response:
        self._reader(request)
        download = "download" in request.query_params
        return await run_in_threadpool(lambda: file_response(find(self.root, _path(request)), download=download))

    async def form(self, request: Request) -> Response:
        self._writer(request)
        boundary = boundary_of(request.headers.get("content-type", ""))
        return _json(await _receive(request, FormReceiver(self.root, boundary)))

    async def put(self, request: Request) -> Response:
        self._writer(request)
        return _json(await _receive(request, await run_in_threadpool(FileReceiver, self.root, _path(request))))

    async def delete(self, request: Request) -> Response:
        self._writer(request)
        path = _path(request)
        if await run_in_threadpool(lambda: delete_file(self.root, find(self.root, path))):
            return _json(path)
        return refusal(404, "no such file")

    async def delete_many(self, request: Request) -> Response:
        self._writer(request)
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > _LARGEST_LIST:
                return refusal(413, f"the list is larger than {_LARGEST_LIST} bytes")
        try:
            files = json.loads(raw)["files"]
        except (ValueError, TypeError, KeyError):
            files = None
        if not isinstance(files, list) or not files or not all(isinstance(name, str) for name in files):
            return refusal(400, 'the body is not {"files": [path or URL, ...]}')
        return _json(await run_in_threadpool(delete_many, self.root, files))

    def _reader(self, request: Request) -> Identity:
        cookie = request.cookies.get(COOKIE, "")
        return self._state.auth.authenticate(request.headers.get("authorization", ""), cookie)

    def _writer(self, request: Request) -> Identity:
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise ApiFault(403, 20, "changes are not taken from other sites' pages")
        return self._state.auth.authenticate(request.headers.get("authorization", ""), "")


async def _receive(request: Request, receiver: Receiver) -> list[str]:
    piece = bytearray()
    try:
        async for chunk in request.stream():
            piece += chunk
            if len(piece) >= _PIECE:
                await run_in_threadpool(receiver.write, bytes(piece))
                piece.clear()
        await run_in_threadpool(receiver.write, bytes(piece))
        return await run_in_threadpool(receiver.finish)
    finally:
        await run_in_threadpool(receiver.drop)


def _path(request: Request) -> str:
    path: str = request.path_params["path"]
    return path


def _json(value: Any) -> Response:
    return Response(json.dumps(value), headers=SAFE_HEADERS, media_type="application/json")


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiFault)
    return refusal(error.code, error.msg)


async def _bad(_request: Request, error: Exception) -> Response:
    return refusal(400, str(error))


async def _failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        return refusal(409, "a file and a folder cannot have the same name")
    if error.errno in _FULL:
        return refusal(507, "no space left on the server")
    raise error


async def _cut_short(_request: Request, _error: Exception) -> Response:
    return refusal(400, "the upload was cut short")  # nobody reads it; the server's log stays free of a traceback
