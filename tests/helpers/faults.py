"""What a ``FaultProxy`` can do to a request, and what it knows about each."""

from __future__ import annotations

import enum
import fnmatch
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import attrs


@attrs.define
class Call:
    """One request as the proxy saw it.

    Args:
        endpoint: the last part of the path, such as ``tasks.started``.
        body: the request's JSON; a list of objects for JSON lines; bytes for anything else; None for nothing.
        number: how many requests to this endpoint there have been, this one included.
        at: Unix seconds of its arrival.
        path: as it was asked for, with version and query.
        headers: with names in lower case.
        status: HTTP status that the client was sent; None when it got no (whole) answer.
        forwarded: it has reached the server.
        fault: what was done to it; None when it was passed on as it is.
        done: nothing more happens to it. A black-holed request is done when it is swallowed.
    """

    endpoint: str
    body: Any
    number: int
    at: float
    path: str = ""
    headers: Mapping[str, str] = attrs.Factory(dict)
    status: int | None = None
    forwarded: bool = False
    fault: Fault | None = None
    done: bool = False


Match = str | Callable[[Call], bool]
Action = Callable[[Call], object]


class Kind(enum.Enum):
    """What a fault comes down to."""

    REFUSE = "closed before it is looked at"
    LOSE_REQUEST = "read, not forwarded, then cut"
    LOSE_REPLY = "forwarded, the reply thrown away, then cut"
    HALF_REPLY = "forwarded, half of the reply passed on, then cut"
    BLACK_HOLE = "read and never answered"
    SLOW = "forwarded after a pause"
    ANSWER = "answered in the server's place"
    RUN = "an action is run before or after forwarding"


@attrs.frozen
class Fault:
    """One thing that goes wrong; made by the constants and the functions below."""

    kind: Kind
    seconds: float = 0.0
    status_code: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    action: Action | None = None
    when: Literal["before", "after"] = "after"
    cut: bool = True

    REFUSE: ClassVar[Fault]
    LOSE_REQUEST: ClassVar[Fault]
    LOSE_REPLY: ClassVar[Fault]
    HALF_REPLY: ClassVar[Fault]
    BLACK_HOLE: ClassVar[Fault]
    GARBAGE: ClassVar[Fault]
    """200 with a page for people, as a captive portal sends it."""
    BROKEN_JSON: ClassVar[Fault]
    """200 with JSON that stops in the middle, though its length is right."""
    UNAUTHORIZED: ClassVar[Fault]
    """401 as servers send it for a token that has expired or was revoked."""
    BAD_CREDENTIALS: ClassVar[Fault]
    """401 as servers send it for a key pair that they do not know."""

    @classmethod
    def slow(cls, seconds: float) -> Fault:
        """Forward after a pause."""
        return cls(Kind.SLOW, seconds=seconds)

    @classmethod
    def status(cls, code: int, body: bytes | str = b"", **headers: str) -> Fault:
        """Answer in the server's place; ``Retry_After="5"`` sets the header ``Retry-After``."""
        content = body.encode() if isinstance(body, str) else body
        named = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return cls(Kind.ANSWER, status_code=code, body=content, headers=named)

    @classmethod
    def garbage(cls, body: bytes | str, content_type: str = "text/html") -> Fault:
        """Answer 200 with ``body``."""
        return cls.status(200, body, Content_Type=content_type)

    @classmethod
    def refusal(cls, code: int, subcode: int, message: str) -> Fault:
        """Answer as the server does when it refuses a request."""
        meta = {"id": "0", "trx": "0", "endpoint": {}, "result_code": code, "result_subcode": subcode}
        document = {"meta": {**meta, "result_msg": message, "error_stack": None, "error_data": {}}, "data": {}}
        return cls.status(code, json.dumps(document), Content_Type="application/json")

    @classmethod
    def run(cls, action: Action, when: Literal["before", "after"] = "after", *, cut: bool = True) -> Fault:
        """Call ``action(call)`` when the request has come (``before``: with ``cut`` it is not forwarded at all) or when
        the server has answered it (``after``: with ``cut`` the answer is lost). Without ``cut`` the client notices
        nothing but the time that the action takes.
        """
        return cls(Kind.RUN, action=action, when=when, cut=cut)


Fault.REFUSE = Fault(Kind.REFUSE)
Fault.LOSE_REQUEST = Fault(Kind.LOSE_REQUEST)
Fault.LOSE_REPLY = Fault(Kind.LOSE_REPLY)
Fault.HALF_REPLY = Fault(Kind.HALF_REPLY)
Fault.BLACK_HOLE = Fault(Kind.BLACK_HOLE)
Fault.GARBAGE = Fault.garbage("<!doctype html><title>Welcome to the hotel</title><form>Room number?</form>")
Fault.BROKEN_JSON = Fault.garbage('{"meta": {"result_code": 200, "resu', "application/json")
Fault.UNAUTHORIZED = Fault.refusal(401, 30, "Unauthorized (invalid token): the token has expired or was revoked")
Fault.BAD_CREDENTIALS = Fault.refusal(401, 22, "Unauthorized (invalid credentials)")


@attrs.define
class Rule:
    """``fault`` for the calls that match: after the first ``skip`` of them, ``times`` times (None: from then on)."""

    match: Match
    fault: Fault
    times: int | None = 1
    skip: int = 0
    hits: int = 0
    """How often it has been applied."""

    def takes(self, call: Call) -> bool:
        """Whether this call is one of those; counts it."""
        if self.times is not None and self.hits >= self.times:
            return False
        if not matches(self.match, call):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.hits += 1
        return True

    def cancel(self) -> None:
        """Apply it no more."""
        self.times = 0


def matches(match: Match, call: Call) -> bool:
    """Whether ``call`` is meant by an endpoint's name, a pattern such as ``tasks.*``, or a predicate."""
    return fnmatch.fnmatchcase(call.endpoint, match) if isinstance(match, str) else match(call)


def parsed(data: bytes, encoding: str) -> Any:
    """A request's body for the eyes of a test."""
    if not data:
        return None
    with_gzip, with_deflate = "gzip" in encoding, "deflate" in encoding
    plain = gzip.decompress(data) if with_gzip else zlib.decompress(data) if with_deflate else data
    try:
        return json.loads(plain)
    except ValueError:
        pass  # JSON lines, or no JSON
    try:
        return [json.loads(line) for line in plain.splitlines()]
    except ValueError:
        return plain
