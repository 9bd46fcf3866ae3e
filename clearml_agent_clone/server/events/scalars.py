"""events.*: scalars and vectors as curves, raw, and summed up."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import attrs

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.events.curves import AXES, DEFAULT_SAMPLES, by_metric, curves
from clearml_agent_clone.server.events.owners import require, require_task
from clearml_agent_clone.server.events.scroll import place_for, scroll_id
from clearml_agent_clone.server.events.selection import Selection
from clearml_agent_clone.server.events.store import SCALAR, SINGLE_VALUE, TYPES, VECTOR, iso_time
from clearml_agent_clone.server.faults import invalid
from clearml_agent_clone.server.registry import Call, endpoint

_MOST_TASKS = 100
_RAW_BATCH = 10_000
_LARGEST_RAW_BATCH = 200_000
_LATEST = 100


@endpoint("events.scalar_metrics_iter_histogram")
def scalar_metrics_iter_histogram(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = fields.required(body, "task")
    require(call.db, [task], models=fields.flag(body, "model_events"))
    axis = _axis(body)
    selection = Selection.of(fields.items(body, "metrics"))
    return by_metric(curves(call.db, task, axis=axis, samples=_samples(body), selection=selection), axis)


@endpoint("events.multi_task_scalar_metrics_iter_histogram")
def multi_task_scalar_metrics_iter_histogram(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    tasks = _tasks(body)
    if len(tasks) > _MOST_TASKS:
        raise invalid("tasks", f"More than {_MOST_TASKS} tasks")
    names = require(call.db, tasks, models=fields.flag(body, "model_events"))
    axis, samples, selection = _axis(body), _samples(body), Selection.of(fields.items(body, "metrics"))
    metrics: dict[str, dict[str, dict[str, Any]]] = {}
    for task in tasks:
        for curve in curves(call.db, task, axis=axis, samples=samples, selection=selection):
            variant = metrics.setdefault(curve.metric, {}).setdefault(curve.variant, {})
            variant[task] = {**curve.to_wire(axis), "name": names[task]}
    return {"metrics": metrics}


@attrs.frozen
class _RawPlace:
    """Up to where raw points were given out, and how many there are in all."""

    x: int
    seq: int
    total: int | None

    @classmethod
    def read(cls, at: Any) -> _RawPlace:
        x, seq, total = at
        if not isinstance(x, int) or not isinstance(seq, int) or not isinstance(total, int | None):
            raise TypeError("not a place among raw points")
        return cls(x, seq, total)


@endpoint("events.scalar_metrics_iter_raw", since="2.16")
def scalar_metrics_iter_raw(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = fields.required(body, "task")
    wanted = fields.mapping(body, "metric")
    fields.required(wanted, "metric")
    require(call.db, [task], models=fields.flag(body, "model_events"))
    axis = _axis(body)
    size = fields.integer(body, "batch_size", _RAW_BATCH) or _RAW_BATCH
    if size < 0:
        raise invalid("batch_size", "Value is negative")
    selection = Selection.of([wanted])
    place = place_for(fields.text(body, "scroll_id"), task, _RawPlace.read)
    total = place.total if place else None
    if place is None and fields.flag(body, "count_total"):
        total = _count_scalars(call.db, task, selection)
    rows = _raw_points(call.db, task, selection, axis=axis, size=min(size, _LARGEST_RAW_BATCH), place=place)
    variants: dict[str, dict[str, list[Any]]] = {}
    for variant, x, y, _ in rows:
        curve = variants.setdefault(variant, {axis: [], "y": []})
        curve[axis].append(iso_time(x) if axis == "iso_time" else x)
        curve["y"].append(y)
    at = [rows[-1][1], rows[-1][3], total] if rows else place and [place.x, place.seq, place.total]
    return {"variants": variants, "returned": len(rows), "total": total, "scroll_id": scroll_id(task, at)}


@endpoint("events.get_task_metrics")
def get_task_metrics(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    kind = fields.required(body, "event_type")
    if kind not in TYPES:
        raise invalid("event_type", f"Value is not one of {', '.join(sorted(TYPES))}")
    tasks = _tasks(body)
    require(call.db, tasks, models=fields.flag(body, "model_events"))
    return {"metrics": [{"task": task, "metrics": list(_variants(call.db, task, kind))} for task in tasks]}


@endpoint("events.get_scalar_metrics_and_variants")
def get_scalar_metrics_and_variants(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = fields.required(body, "task")
    require(call.db, [task], models=fields.flag(body, "model_events"))
    return {"metrics": _variants(call.db, task, SCALAR)}


@endpoint("events.get_vector_metrics_and_variants")
def get_vector_metrics_and_variants(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = fields.required(body, "task")
    require(call.db, [task], models=fields.flag(body, "model_events"))
    return {"metrics": _variants(call.db, task, VECTOR)}


@endpoint("events.vector_metrics_iter_histogram")
def vector_metrics_iter_histogram(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task, metric, variant = (fields.required(body, name) for name in ("task", "metric", "variant"))
    require(call.db, [task], models=fields.flag(body, "model_events"))
    rows = call.db.execute(
        "SELECT iter, extra FROM point_events"
        " WHERE owner = ? AND type = ? AND metric = ? AND variant = ? ORDER BY iter",
        (task, VECTOR, metric, variant),
    ).fetchall()
    vectors = [json.loads(row[1] or "{}").get("values", []) for row in rows]
    return {"metric": metric, "variant": variant, "vectors": vectors, "iterations": [row[0] for row in rows]}


@endpoint("events.get_task_single_value_metrics")
def get_task_single_value_metrics(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    tasks = _tasks(body)
    names = require(call.db, tasks, models=fields.flag(body, "model_events"))
    selection = Selection.of(fields.items(body, "metrics"))
    found = []
    for task in tasks:
        rows = call.db.execute(
            "SELECT metric, variant, value, timestamp FROM point_events"  # noqa: S608 - all values are bound
            f" WHERE owner = ? AND type = ? AND iter = ?{selection.sql} ORDER BY metric, variant",
            (task, SCALAR, SINGLE_VALUE, *selection.values),
        )
        keys = ("metric", "variant", "value", "timestamp")
        values = [dict(zip(keys, row, strict=True)) for row in rows]
        if values:
            found.append({"task": task, "task_name": names[task], "values": values})
    return {"tasks": found}


@endpoint("events.get_task_latest_scalar_values")
def get_task_latest_scalar_values(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    task = require_task(call.db, fields.required(body, "task"))
    metrics: list[dict[str, Any]] = []
    newest = None
    for metric, variants in _variants(call.db, task.id, SCALAR).items():
        shown = []
        for variant in variants:
            rows = call.db.execute(
                "SELECT value, timestamp FROM point_events WHERE owner = ? AND type = ? AND metric = ? AND variant = ?"
                " ORDER BY iter DESC LIMIT ?",
                (task.id, SCALAR, metric, variant, _LATEST),
            ).fetchall()
            values = [row[0] for row in rows]
            newest = max(newest or 0, *(row[1] for row in rows))
            mean = sum(value / len(values) for value in values)
            shown.append({"name": variant, "last_value": values[0], "last_100_value": mean})
        metrics.append({"name": metric, "variants": shown})
    last = call.db.execute(
        "SELECT MAX(iter) FROM point_events WHERE owner = ? AND iter != ?", (task.id, SINGLE_VALUE)
    ).fetchone()[0]
    return {
        "metrics": metrics,
        "last_iter": last or 0,
        "name": task.name,
        "status": task.status,
        "last_timestamp": newest,
    }


def _tasks(body: fields.Body) -> list[str]:
    tasks = list(dict.fromkeys(part.strip() for text in fields.texts(body, "tasks") for part in text.split(",")))
    if not tasks:
        raise invalid("tasks", "Field is required")
    return tasks


def _axis(body: fields.Body) -> str:
    axis = fields.text(body, "key") or "iter"
    if axis not in AXES:
        raise invalid("key", f"Value is not one of {', '.join(AXES)}")
    return axis


def _samples(body: fields.Body) -> int:
    samples = fields.integer(body, "samples", DEFAULT_SAMPLES)
    if samples < 0:
        raise invalid("samples", "Value is negative")
    return samples


def _variants(db: sqlite3.Connection, task: str, kind: str) -> dict[str, list[str]]:
    table = "log_events" if kind == "log" else "point_events"
    typed, values = ("", ()) if kind == "log" else (" AND type = ?", (kind,))
    found: dict[str, list[str]] = {}
    sql = f"SELECT DISTINCT metric, variant FROM {table} WHERE owner = ?{typed} ORDER BY metric, variant"  # noqa: S608
    for metric, variant in db.execute(sql, (task, *values)):
        found.setdefault(metric, []).append(variant)
    return found


def _count_scalars(db: sqlite3.Connection, task: str, selection: Selection) -> int:
    sql = f"SELECT COUNT(*) FROM point_events WHERE owner = ? AND type = ?{selection.sql}"  # noqa: S608 - bound
    return int(db.execute(sql, (task, SCALAR, *selection.values)).fetchone()[0])


def _raw_points(
    db: sqlite3.Connection, task: str, selection: Selection, *, axis: str, size: int, place: _RawPlace | None
) -> list[tuple[str, int, float, int]]:
    x = "iter" if axis == "iter" else "timestamp"
    after, values = (f" AND ({x}, seq) > (?, ?)", (place.x, place.seq)) if place else ("", ())
    return db.execute(
        f"SELECT variant, {x}, value, seq FROM point_events"  # noqa: S608 - the parts are ours, all values are bound
        f" WHERE owner = ? AND type = ?{selection.sql}{after} ORDER BY {x}, seq LIMIT ?",
        (task, SCALAR, *selection.values, *values, size),
    ).fetchall()
