"""events.*: plots, debug images and events of any kind, as they were reported."""

from __future__ import annotations

import sqlite3
from typing import Any

import attrs

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.events.console import order, scrolled
from clearml_agent_clone.server.events.listing import Query
from clearml_agent_clone.server.events.owners import require, require_open
from clearml_agent_clone.server.events.scroll import place_for, scroll_id
from clearml_agent_clone.server.events.selection import Selection
from clearml_agent_clone.server.events.store import (
    IMAGE,
    PLOT,
    POINT_COLUMNS,
    TYPES,
    delete_task_events,
    point_event,
)
from clearml_agent_clone.server.faults import invalid
from clearml_agent_clone.server.registry import Call, endpoint

_BATCH = 500


@endpoint("events.get_task_events")
def get_task_events(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = fields.required(body, "task")
    require(call.db, [task], models=fields.flag(body, "model_events"))
    kind = fields.text(body, "event_type")
    if kind and kind not in TYPES:
        raise invalid("event_type", f"Value is not one of {', '.join(sorted(TYPES))}")
    selection = Selection.of(fields.items(body, "metrics"))
    return scrolled(call, body, Query(task, kind, selection, descending=order(body, "asc") == "desc"), _BATCH)


@endpoint("events.clear_scroll", since="2.18")
async def clear_scroll(_request: object, _body: dict[str, Any]) -> dict[str, Any]:
    return {}  # nothing is kept for a scroll


@endpoint("events.delete_for_task", writes=True)
def delete_for_task(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return _delete(call, fields.required(body, "task"), fields.flag(body, "allow_locked"), models=False)


@endpoint("events.delete_for_model", writes=True)
def delete_for_model(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return _delete(call, fields.required(body, "model"), fields.flag(body, "allow_locked"), models=True)


@endpoint("events.get_task_plots")
def get_task_plots(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    found = _latest(call, body, PLOT)
    return {**found, "plots": found.pop("events")}


@endpoint("events.debug_images")
def debug_images_of_task(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    found = _latest(call, body, IMAGE)
    return {**found, "task": body["task"], "images": found.pop("events")}


@endpoint("events.debug_images", since="2.7")
def debug_images(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return _by_iteration(call, body, IMAGE)


@endpoint("events.plots")
def plots(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    return _by_iteration(call, body, PLOT)


def _delete(call: Call, owner: str, even_locked: bool, *, models: bool) -> dict[str, Any]:
    require_open(call.db, owner, models=models, even_locked=even_locked)
    return {"deleted": bool(delete_task_events(call.db, owner))}


def _latest(call: Call, body: fields.Body, kind: str) -> dict[str, Any]:
    """Of each metric and variant the last ``iters`` iterations, the newest first; all on one page."""
    task = fields.required(body, "task")
    require(call.db, [task], models=fields.flag(body, "model_events"))
    seen = bool(place_for(fields.text(body, "scroll_id"), task, bool))
    selection = Selection.of(fields.items(body, "metrics"))
    # Ranked by number alone: a plot can be megabytes, and the ranking copies what it sorts.
    ranked = (
        "SELECT seq, DENSE_RANK() OVER (PARTITION BY metric, variant ORDER BY iter DESC) AS place"  # noqa: S608 - bound
        f" FROM point_events WHERE owner = ? AND type = ?{selection.sql}"
    )
    sql = (
        f"SELECT {POINT_COLUMNS} FROM point_events WHERE seq IN (SELECT seq FROM ({ranked}) WHERE place <= ?)"  # noqa: S608
        " ORDER BY iter DESC, metric, variant, seq"
    )
    values = (task, kind, *selection.values, _iterations(body))
    events = [] if seen else [_shown(task, row) for row in call.db.execute(sql, values)]
    last = "" if fields.flag(body, "no_scroll") else scroll_id(task, at=True)
    return {"events": events, "returned": len(events), "total": len(events), "scroll_id": last}


@attrs.frozen
class _Window:
    """The iterations of one task that a client has seen, from the lowest to the highest."""

    low: int
    high: int


def _by_iteration(call: Call, body: fields.Body, kind: str) -> dict[str, Any]:
    """For each task the next ``iters`` iterations with their events, beginning with the newest."""
    asked: dict[str, list[dict[str, Any]]] = {}
    for item in fields.items(body, "metrics"):
        asked.setdefault(fields.required(item, "task"), []).append(item)
    if not asked:
        raise invalid("metrics", "Field is required")
    require(call.db, list(asked), models=fields.flag(body, "model_events"))
    windows = place_for(fields.text(body, "scroll_id"), kind, _windows) or {}
    if fields.flag(body, "refresh"):
        windows = {}
    earlier = fields.flag(body, "navigate_earlier", default=True)
    metrics = []
    for task, items in asked.items():
        selection = Selection.of(items)
        seen = windows.get(task)
        numbers = _next_iterations(call.db, (task, kind), selection, _iterations(body), seen, earlier=earlier)
        if numbers:
            windows[task] = _Window(min(numbers), max(numbers))
        found = [{"iter": number, "events": _at(call.db, (task, kind), selection, number)} for number in numbers]
        metrics.append({"task": task, "iterations": found})
    at = {task: [window.low, window.high] for task, window in windows.items()}
    return {"metrics": metrics, "scroll_id": scroll_id(kind, at)}


def _windows(at: Any) -> dict[str, _Window]:
    if not isinstance(at, dict) or not all(isinstance(number, int) for pair in at.values() for number in pair):
        raise TypeError("not windows of iterations")
    return {task: _Window(low, high) for task, (low, high) in at.items()}


def _next_iterations(
    db: sqlite3.Connection,
    of: tuple[str, str],
    selection: Selection,
    limit: int,
    seen: _Window | None,
    *,
    earlier: bool,
) -> list[int]:
    way, start = (" AND iter < ?", seen and seen.low) if earlier else (" AND iter > ?", seen and seen.high)
    bound = [start] if seen else []
    rows = db.execute(
        "SELECT DISTINCT iter FROM point_events"  # noqa: S608 - the parts are ours, all values are bound
        f" WHERE owner = ? AND type = ?{selection.sql}{way if seen else ''}"
        f" ORDER BY iter {'DESC' if earlier else 'ASC'} LIMIT ?",
        (*of, *selection.values, *bound, limit),
    )
    return sorted((row[0] for row in rows), reverse=True)


def _at(db: sqlite3.Connection, of: tuple[str, str], selection: Selection, number: int) -> list[dict[str, Any]]:
    rows = db.execute(
        f"SELECT {POINT_COLUMNS} FROM point_events"  # noqa: S608 - the parts are ours, all values are bound
        f" WHERE owner = ? AND type = ? AND iter = ?{selection.sql} ORDER BY metric, variant, key, seq",
        (*of, number, *selection.values),
    )
    return [_shown(of[0], row) for row in rows]


def _shown(task: str, row: tuple[Any, ...]) -> dict[str, Any]:
    event = point_event(task, row)
    if event["type"] == PLOT:
        event["plot_len"] = len(event.get("plot_str") or "")
    return event


def _iterations(body: fields.Body) -> int:
    number = fields.integer(body, "iters", 1) or 1
    if number < 1:
        raise invalid("iters", "Value is not a positive number")
    return number
