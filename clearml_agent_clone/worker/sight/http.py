"""As much of HTTP as ``/metrics`` and ``/healthz`` need: one GET or HEAD per connection."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus

import attrs

from clearml_agent_clone.worker.sight.responder import Protocol

log = logging.getLogger(__name__)

_LONGEST_HEAD = 16 * 1024


@attrs.frozen
class Page:
    """An answer's content."""

    body: bytes
    content_type: str
    status: HTTPStatus = HTTPStatus.OK


def json_page(data: object, status: HTTPStatus = HTTPStatus.OK) -> Page:
    return Page(json.dumps(data).encode() + b"\n", "application/json", status)


class Http(Protocol):
    """Serves ``pages``, each made anew when it is asked for."""

    def __init__(self, pages: Mapping[str, Callable[[], Page]]) -> None:
        self._pages = pages

    def answer(self, request: bytes) -> bytes | None:
        """The response to ``request``; None until its head is complete."""
        if b"\r\n\r\n" not in request and b"\n\n" not in request:
            if len(request) > _LONGEST_HEAD:
                return _respond(_error(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
            return None
        words = request.split(b"\n", 1)[0].split()
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return _respond(_error(HTTPStatus.BAD_REQUEST))
        method, target = words[0].decode("latin-1"), words[1].decode("latin-1")
        make = self._pages.get(target.partition("?")[0])
        if make is None:
            return _respond(_error(HTTPStatus.NOT_FOUND), head=method == "HEAD")
        if method not in {"GET", "HEAD"}:
            return _respond(_error(HTTPStatus.METHOD_NOT_ALLOWED), extra="Allow: GET, HEAD\r\n")
        try:
            page = make()
        except Exception as error:  # a bug in a page must not end the answering; whoever asks is told
            log.exception("the page %s failed", target)
            page = json_page({"error": f"internal error: {type(error).__name__}"}, HTTPStatus.INTERNAL_SERVER_ERROR)
        return _respond(page, head=method == "HEAD")


def _error(status: HTTPStatus) -> Page:
    return json_page({"error": status.phrase}, status)


def _respond(page: Page, *, head: bool = False, extra: str = "") -> bytes:
    start = (
        f"HTTP/1.1 {page.status.value} {page.status.phrase}\r\n"
        f"Content-Type: {page.content_type}\r\n"
        f"Content-Length: {len(page.body)}\r\n"
        f"Cache-Control: no-store\r\n{extra}"
        "Connection: close\r\n\r\n"
    )
    return start.encode("latin-1") + (b"" if head else page.body)
