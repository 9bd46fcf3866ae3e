"""One event as a client sends it → a row for the database, or the reason why it is none."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.server.events.store import LOG, SCALAR, TYPES, LogRow, PointRow

_LONGEST = 2**63
_SENT_ALONG = frozenset({"type", "task", "timestamp", "worker", "metric", "variant"}) | frozenset(
    {"model_event", "allow_locked", "method", "skip_validation", "@timestamp"}
)
_LOG_FIELDS = _SENT_ALONG | {"level", "msg"}
_POINT_FIELDS = _SENT_ALONG | {"iter", "key"}
_SCALAR_FIELDS = _POINT_FIELDS | {"value"}


_NO_JSON = object()


class BadEvent(Exception):  # noqa: N818 - it is a line of a report, the batch goes on
    """Why an event is not taken in; its text is the client's ``errors_info`` key."""


@attrs.frozen(cache_hash=True)
class Owner:
    """Whose an event is: a task, or a model. ``even_locked`` says that it may also be a published one."""

    id: str
    is_model: bool = False
    even_locked: bool = False


@attrs.define
class Parsed:
    """A batch, sorted by owner; each owner's rows are in the order of their arrival."""

    logs: dict[Owner, list[LogRow]] = attrs.Factory(dict)
    points: dict[Owner, list[PointRow]] = attrs.Factory(dict)
    errors: Counter[str] = attrs.Factory(Counter)

    @property
    def owners(self) -> list[Owner]:
        return list({**dict.fromkeys(self.logs), **dict.fromkeys(self.points)})

    def refuse(self, owner: Owner, why: str) -> None:
        """Take an owner's rows out and count them as errors."""
        self.errors[why] += len(self.logs.pop(owner, ())) + len(self.points.pop(owner, ()))


def parse_lines(lines: Iterable[bytes], *, worker: str, now: int) -> Parsed:
    """Parse the lines of a json-lines body.

    Args:
        lines: one JSON object each; a line that is none is counted as an error.
        worker: goes into events that name no worker.
        now: milliseconds since the epoch, for events without a time.
    """
    parsed = Parsed()
    for event in _decode(list(lines)):
        add_event(parsed, event, worker=worker, now=now)
    return parsed


def _decode(lines: list[bytes]) -> list[Any]:
    try:  # as one array: thousands of short lines cost half as much as one by one
        events = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        events = []
    if len(events) == len(lines):
        return list(events)
    return [_decode_one(line) for line in lines]


def _decode_one(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested beyond reason
        return _NO_JSON


def add_event(parsed: Parsed, event: object, *, worker: str, now: int) -> None:
    """Take one decoded event into ``parsed``."""
    try:
        _take(parsed, event, worker, now)
    except BadEvent as error:
        parsed.errors[str(error)] += 1


def _take(parsed: Parsed, event: object, worker: str, now: int) -> None:
    if not isinstance(event, dict):
        raise BadEvent("Invalid JSON" if event is _NO_JSON else "Event is not an object")
    kind, owner = _kind(event), _owner(event)
    if kind != LOG:
        parsed.points.setdefault(owner, []).append(_point(event, kind, owner, worker, now))
        return
    if owner.is_model:
        raise BadEvent("Log events are not supported for models")
    parsed.logs.setdefault(owner, []).append(_log(event, owner, worker, now))


def _kind(event: Mapping[str, Any]) -> str:
    kind = event.get("type")
    if not kind or not isinstance(kind, str):
        raise BadEvent("Event must have a 'type' field")
    kind = kind.replace(" ", "_")
    if kind not in TYPES:
        raise BadEvent(f"Invalid event type {_clean(kind)[:50]}")
    return kind


def _owner(event: Mapping[str, Any]) -> Owner:
    task = event.get("task")
    if not task or not isinstance(task, str):
        raise BadEvent("Event must have a 'task' field")
    return _owner_of(_clean(task), event.get("model_event") is True, event.get("allow_locked") is True)


@functools.lru_cache(maxsize=64)  # a batch is about one task: making and hashing its owner anew costs as much as JSON
def _owner_of(task: str, is_model: bool, even_locked: bool) -> Owner:
    return Owner(task, is_model, even_locked)


def _log(event: Mapping[str, Any], owner: Owner, worker: str, now: int) -> LogRow:
    return LogRow(
        owner.id,
        _whole(event, "timestamp", now),
        now,
        _text(event, "level"),
        _text(event, "worker") or worker,
        _text(event, "msg"),
        _text(event, "metric"),
        _text(event, "variant"),
        _extra(event, _LOG_FIELDS),
    )


def _point(event: Mapping[str, Any], kind: str, owner: Owner, worker: str, now: int) -> PointRow:
    is_scalar = kind == SCALAR
    return PointRow(
        owner.id,
        kind,
        _text(event, "metric"),
        _text(event, "variant"),
        _whole(event, "iter", 0),
        _text(event, "key"),
        _whole(event, "timestamp", now),
        now,
        _text(event, "worker") or worker,
        _value(event) if is_scalar else None,
        _extra(event, _SCALAR_FIELDS if is_scalar else _POINT_FIELDS),
    )


def _value(event: Mapping[str, Any]) -> float:
    value = event.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadEvent("Scalar event must have a numeric 'value' field")
    try:
        number = float(value)
    except OverflowError:  # an integer beyond any float
        number = math.inf
    if not math.isfinite(number):  # JSON has no word for it, so it could not be read back
        raise BadEvent("Scalar value is not finite")
    return number


def _whole(event: Mapping[str, Any], name: str, default: int) -> int:
    value = event.get(name)
    if value is None:
        return default
    if type(value) is not int:
        try:
            value = int(float(value))
        except (TypeError, ValueError, OverflowError):
            raise BadEvent(f"Event field '{name}' is not a number") from None
    if not -_LONGEST <= value < _LONGEST:
        raise BadEvent(f"Event field '{name}' is out of range")
    return value


def _text(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if value is None:
        return ""
    return _clean(value if isinstance(value, str) else json.dumps(value))


def _extra(event: Mapping[str, Any], known: frozenset[str]) -> str | None:
    if event.keys() <= known:
        return None
    return _clean(json.dumps({name: event[name] for name in event if name not in known}, ensure_ascii=False))


def _clean(text: str) -> str:
    """``text`` without lone surrogates: JSON can spell them, UTF-8 and so the database cannot."""
    return text if text.isascii() else text.encode(errors="replace").decode()
