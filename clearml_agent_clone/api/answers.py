"""The server's answer: its data, or the error that it stands for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from clearml_agent_clone.api.access import ServerAccess
from clearml_agent_clone.api.errors import EndpointMissing, InvalidRequest, NotClearML, ServerBusy, ServerUnreachable
from clearml_agent_clone.api.transport import Answer
from clearml_agent_clone.api.types import text

_LONGEST_MESSAGE = 500
_LONGEST_PAUSE = 600.0


class Unauthorized(Exception):  # noqa: N818 - a sign to the session, which never lets it out
    """HTTP 401: log in again, or give up."""

    def __init__(self, subcode: int, message: str) -> None:
        super().__init__(message)
        self.subcode = subcode
        self.message = message


@attrs.frozen
class _Meta:
    status: int
    subcode: int
    message: str


def read_answer(answer: Answer, endpoint: str, access: ServerAccess) -> dict[str, Any]:
    """The ``data`` of a successful answer.

    Args:
        answer: as it came.
        endpoint: such as ``tasks.get_all``, for the wording.
        access: names the server, for the wording.

    Raises:
        Unauthorized: 401 from ClearML.
        ServerBusy: 429 or 5xx, from whomever.
        EndpointMissing: 404 from ClearML.
        InvalidRequest: any other refusal.
        NotClearML: the answer is not one of ClearML's.
    """
    document = _document(answer)
    meta = _meta(document)
    status = meta.status if meta else answer.status
    if status == 429 or status >= 500:
        raise _busy(answer, status, meta, endpoint, access)
    if meta is None:
        raise _foreign(answer, endpoint, access)
    if status == 200:
        data = document.get("data")
        return data if isinstance(data, dict) else {}
    if status == 401:
        raise Unauthorized(meta.subcode, meta.message)
    if status == 404:
        raise EndpointMissing(
            f"{access.url} has no {endpoint}: {meta.message}",
            endpoint=endpoint,
            remedy="The server may be older than this agent, or an edition without this call",
        )
    raise InvalidRequest(
        f"{endpoint} was refused: {meta.message} (code {status}/{meta.subcode})",
        endpoint=endpoint,
        status=status,
        subcode=meta.subcode,
        server_message=meta.message,
    )


def wrong_answer(error: NotClearML) -> ServerUnreachable:
    """``error`` at an address where a ClearML server has answered before: an outage."""
    return ServerUnreachable(
        error.message.replace("is not a ClearML API server: it answered", "answers wrongly:", 1),
        remedy="A proxy, a load balancer or a login page may answer in the server's place",
        code="wrong-answer",
        may_have_acted=True,
    )


def _document(answer: Answer) -> Mapping[str, Any]:
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, Mapping) else {}


def _meta(document: Mapping[str, Any]) -> _Meta | None:
    meta = document.get("meta")
    status = meta.get("result_code") if isinstance(meta, Mapping) else None
    if not isinstance(meta, Mapping) or not isinstance(status, int) or isinstance(status, bool):
        return None
    subcode = meta.get("result_subcode")
    message = " ".join(text(meta.get("result_msg")).split())[:_LONGEST_MESSAGE]
    return _Meta(status, subcode if isinstance(subcode, int) else 0, message or "no reason given")


def _busy(answer: Answer, status: int, meta: _Meta | None, endpoint: str, access: ServerAccess) -> ServerBusy:
    reason = f": {meta.message}" if meta else ""
    remedy = "Look at the server's log" if status in {500, 501} else "The server is overloaded, restarted or maintained"
    return ServerBusy(
        f"{access.url} answered {endpoint} with HTTP {status}{reason}",
        status=status,
        retry_after=_retry_after(answer.headers.get("retry-after", "")),
        remedy=remedy,
    )


def _retry_after(value: str) -> float | None:
    if not value:
        return None
    if value.strip().isdecimal():
        return min(float(value), _LONGEST_PAUSE)
    import email.utils  # noqa: PLC0415 - a date instead of seconds is rare
    import time  # noqa: PLC0415 - as above

    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return min(max(0.0, moment.timestamp() - time.time()), _LONGEST_PAUSE)


def _foreign(answer: Answer, endpoint: str, access: ServerAccess) -> NotClearML | InvalidRequest:
    if answer.status == 413:
        return InvalidRequest(
            f"{endpoint} was refused: the request is larger than the server or its proxy takes (HTTP 413)",
            endpoint=endpoint,
            status=413,
            subcode=0,
            server_message="request too large",
            remedy="Lower api.http.max_req_size, or raise the limit of the proxy",
        )
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()[:80] or "no content type"
    message = f"{access.url} is not a ClearML API server: it answered {endpoint} with HTTP {answer.status}, {kind}"
    return NotClearML(message, remedy=_what_then(answer, access))


def _what_then(answer: Answer, access: ServerAccess) -> str:
    target = urlsplit(answer.headers.get("location", ""))
    if answer.status in {301, 302, 303, 307, 308} and target.hostname:
        place = f"{target.scheme}://{target.hostname}{f':{target.port}' if target.port else ''}"
        return f"It sends us to {place}; set api.api_server to the address of the API server itself"
    port = urlsplit(access.url).port
    if port in {8080, 8081}:
        kind = "web" if port == 8080 else "files"
        return f"{port} is the port of the {kind} server; the API server usually listens on 8008"
    return (
        "Does api.api_server name the web server? The API server is another one: usually port 8008 instead of 8080,"
        " or api. instead of app. in the host's name"
    )
