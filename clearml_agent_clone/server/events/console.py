"""events.*: reading and clearing a task's console."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from starlette.responses import StreamingResponse

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.events.listing import Listed, Place, Query, count, page, same_time
from clearml_agent_clone.server.events.owners import require, require_open
from clearml_agent_clone.server.events.scroll import place_for, scroll_id
from clearml_agent_clone.server.events.selection import Selection
from clearml_agent_clone.server.events.store import LOG, iso_time
from clearml_agent_clone.server.faults import ApiFault, invalid
from clearml_agent_clone.server.registry import Call, endpoint
from clearml_agent_clone.server.state import ServerState

_BATCH = 5000
_OLD_BATCH = 500
_LARGEST_BATCH = 10_000
_LINE_FIELDS = ("asctime", "timestamp", "level", "worker", "msg")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w*)\}")


@endpoint("events.get_task_log")
def get_task_log_by_scroll(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return _scroll_log(call, body, order(body, "desc"))


@endpoint("events.get_task_log", since="1.7")
def get_task_log_from_end(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    scrolled = "desc" if fields.text(body, "from", "head") == "tail" else "asc"
    reply = _scroll_log(call, body, scrolled)
    if order(body, "desc") != scrolled:
        reply["events"].reverse()
    return reply


@endpoint("events.get_task_log", since="2.9")
def get_task_log(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = fields.required(body, "task")
    require(call.db, [task])
    earlier = fields.flag(body, "navigate_earlier", default=True)
    query = Query(task, LOG, Selection.of(fields.items(body, "metrics")), descending=earlier)
    size = batch_size(body, _BATCH)
    after = None
    if body.get("from_timestamp") is not None:
        start = int(fields.number(body, "from_timestamp"))
        # Everything of that very time has been seen with the page before.
        after = Place(start, 0, 0) if earlier else Place(start + 1, -1, 0)
    found = page(call.db, query, size, after)
    if len(found) == size:
        found += same_time(call.db, query, found[-1].place)
    if body.get("order") is not None and (order(body, "") == "asc") == earlier:
        found.reverse()
    return {"events": _events(found), "returned": len(found), "total": count(call.db, query)}


@endpoint("events.download_task_log")
def download_task_log(call: Call, body: dict[str, Any]) -> StreamingResponse:
    task = fields.required(body, "task")
    require(call.db, [task])
    kind = fields.text(body, "line_type", "json").lower()
    if kind not in ("json", "text"):
        raise invalid("line_type", "Value is not one of json, text")
    template = ""
    if kind == "text":
        template = _checked(fields.text(body, "line_format", "{asctime} {worker} {level} {msg}"))
    headers = {"content-disposition": f'attachment; filename="task_{re.sub(r"[^0-9A-Za-z]", "", task)}.log"'}
    return StreamingResponse(text_lines(call.state, task, template), headers=headers, media_type="text/plain")


@endpoint("events.clear_task_log", writes=True)
def clear_task_log(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = fields.required(body, "task")
    require_open(call.db, task, even_locked=fields.flag(body, "allow_locked"))
    where, values = "owner = ?", [task]
    bound: list[Any] = list(values)
    threshold = fields.integer(body, "threshold_sec")
    if threshold > 0:
        where += " AND timestamp < ?"
        bound.append(int((call.now.timestamp() - threshold) * 1000))
    for name, negation in (("include_metrics", ""), ("exclude_metrics", "NOT ")):
        metrics = fields.texts(body, name)
        if metrics:
            where += f" AND metric {negation}IN ({', '.join('?' * len(metrics))})"
            bound += metrics
    deleted = call.db.execute(f"DELETE FROM log_events WHERE {where}", bound).rowcount  # noqa: S608 - values are bound
    return {"deleted": deleted}


def order(body: fields.Body, default: str) -> str:
    """``asc`` or ``desc``."""
    value = fields.text(body, "order", default)
    if value not in ("asc", "desc"):
        raise invalid("order", "Value is not one of asc, desc")
    return value


def batch_size(body: fields.Body, default: int) -> int:
    """How many events a page may have."""
    size = fields.integer(body, "batch_size", default)
    if size < 1:
        raise invalid("batch_size", "Value is not a positive number")
    return min(size, _LARGEST_BATCH)


def scrolled(call: Call, body: fields.Body, query: Query, default_size: int) -> dict[str, Any]:
    """A page of ``query`` that goes on where ``scroll_id`` says."""
    text = fields.text(body, "scroll_id")
    after = place_for(text, query.owner, Place.read)
    found = page(call.db, query, batch_size(body, default_size), after)
    last = found[-1].place if found else after
    return {
        "events": _events(found),
        "returned": len(found),
        "total": count(call.db, query),
        "scroll_id": scroll_id(query.owner, last.write() if last else None),
    }


def text_lines(state: ServerState, task: str, template: str) -> Iterator[str]:
    """A task's whole console, a piece at a time, in a snapshot for each piece.

    Args:
        state: the server's.
        task: the task's id.
        template: what to write of each event, with the placeholders ``download_task_log`` knows; empty for JSON.
    """
    after = None
    while True:
        with state.db.read() as db:
            found = page(db, Query(task, LOG), _BATCH, after)
        for listed in found:
            yield _line(listed.event, template) + "\n"
        if len(found) < _BATCH:
            return
        after = found[-1].place


def _scroll_log(call: Call, body: dict[str, Any], direction: str) -> dict[str, Any]:
    task = fields.required(body, "task")
    require(call.db, [task])
    return scrolled(call, body, Query(task, LOG, descending=direction == "desc"), _OLD_BATCH)


def _events(found: list[Listed]) -> list[dict[str, Any]]:
    return [listed.event for listed in found]


def _line(event: dict[str, Any], template: str) -> str:
    if not template:
        shown = {name: value for name, value in event.items() if name not in ("type", "task", "timestamp")}
        return json.dumps({**shown, "asctime": event["timestamp"]})
    values = {**event, "asctime": iso_time(event["timestamp"]), "msg": event["msg"].removesuffix("\n")}
    return _PLACEHOLDER.sub(lambda mark: str(values[mark[1]]) if mark[1] else mark[0][0], template)


def _checked(template: str) -> str:
    # Only plain placeholders: str.format would let a client reach into objects and ask for a terabyte of padding.
    template = template.rstrip("\n")
    if not template:
        raise ApiFault(400, 11, "Missing required fields: line_format is required for plain text lines")
    left = _PLACEHOLDER.sub("", template)
    unknown = [mark[1] for mark in _PLACEHOLDER.finditer(template) if mark[1] not in (None, *_LINE_FIELDS)]
    if unknown or "{" in left or "}" in left:
        raise invalid("line_format", f"Undefined placeholders: {', '.join(unknown) or left}")
    return template
