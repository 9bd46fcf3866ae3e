"""workers.*: what the workers measured, over time; queues.get_queue_metrics: how long tasks waited."""

from __future__ import annotations

import math
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.documents import QUEUES
from clearml_agent_clone.server.faults import invalid
from clearml_agent_clone.server.registry import Call, endpoint

Body = dict[str, Any]
_FIRST_VERSION = "2.4"
_SHORTEST_INTERVAL = 40
_MOST_POINTS = 10_000
_AGGREGATIONS = {"avg": "AVG(value)", "min": "MIN(value)", "max": "MAX(value)"}
_CATEGORIES = ("cpu", "gpu", "memory", "network", "disk")


@endpoint("workers.get_metric_keys", since=_FIRST_VERSION)
def get_metric_keys(call: Call, body: Body) -> Body:
    rows = call.db.execute(
        "SELECT DISTINCT metric FROM worker_samples WHERE metric <> 'active'"
        " AND (? = '[]' OR worker IN (SELECT value FROM json_each(?))) ORDER BY metric",
        (fields.as_json(fields.texts(body, "worker_ids")),) * 2,
    )
    metrics = [row[0] for row in rows]
    categories = []
    for name in _CATEGORIES:
        keys = [metric for metric in metrics if metric.startswith(f"{name}_")]
        if keys:
            categories.append({"name": name, "metric_keys": keys})
    return {"categories": categories}


@endpoint("workers.get_stats", since=_FIRST_VERSION)
def get_stats(call: Call, body: Body) -> Body:
    start, end, interval = _period(body)
    by_variant = fields.flag(body, "split_by_variant")
    found: dict[str, dict[tuple[str, str], Body]] = {}
    for item in fields.items(body, "items"):
        metric, aggregation = fields.required(item, "key"), fields.text(item, "category", "avg")
        if aggregation not in _AGGREGATIONS:
            raise invalid("category", "Value must be avg, min or max")
        rows = call.db.execute(
            f"SELECT worker, {'variant' if by_variant else repr('')}, CAST((at - ?) / ? AS INTEGER),"  # noqa: S608 - our own constants
            f" {_AGGREGATIONS[aggregation]} FROM worker_samples"
            " WHERE at >= ? AND at <= ? AND metric = ? AND (? = '[]' OR worker IN (SELECT value FROM json_each(?)))"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2, 3",
            (start, interval, start, end, metric, *(fields.as_json(fields.texts(body, "worker_ids")),) * 2),
        )
        for worker, variant, bucket, value in rows:
            series = found.setdefault(worker, {}).setdefault(
                (metric, variant), {"metric": metric, "variant": variant, "dates": [], "stats": {}}
            )
            date = int(start + bucket * interval)
            if date not in series["dates"]:
                series["dates"].append(date)
            series["stats"].setdefault(aggregation, []).append(value)
    return {"workers": [{"worker": worker, "metrics": _series(found[worker])} for worker in found]}


@endpoint("workers.get_activity_report", since=_FIRST_VERSION)
def get_activity_report(call: Call, body: Body) -> Body:
    start, end, interval = _period(body)
    rows = call.db.execute(
        "SELECT CAST((at - ?) / ? AS INTEGER), COUNT(DISTINCT worker),"
        " COUNT(DISTINCT CASE WHEN value > 0 THEN worker END) FROM worker_samples"
        " WHERE at >= ? AND at <= ? AND metric = 'active' GROUP BY 1 ORDER BY 1",
        (start, interval, start, end),
    )
    counts = {bucket: (total, active) for bucket, total, active in rows}
    buckets = range(math.ceil((end - start) / interval))
    dates = [int(start + bucket * interval) for bucket in buckets]
    return {
        "total": {"dates": dates, "counts": [counts.get(bucket, (0, 0))[0] for bucket in buckets]},
        "active": {"dates": dates, "counts": [counts.get(bucket, (0, 0))[1] for bucket in buckets]},
    }


@endpoint("queues.get_queue_metrics", since=_FIRST_VERSION)
def get_queue_metrics(call: Call, body: Body) -> Body:
    start, end, interval = _period(body)
    found = []
    wanted = fields.texts(body, "queue_ids") or [queue["id"] for queue in QUEUES.select(call.db)]
    for queue in wanted:
        rows = call.db.execute(
            "SELECT CAST((at - ?) / ? AS INTEGER), AVG(waited), MAX(length) FROM queue_samples"
            " WHERE queue = ? AND at >= ? AND at <= ? GROUP BY 1 ORDER BY 1",
            (start, interval, queue, start, end),
        ).fetchall()
        found.append(
            {
                "queue": queue,
                "dates": [int(start + bucket * interval) for bucket, _, _ in rows],
                "avg_waiting_times": [waited for _, waited, _ in rows],
                "queue_lengths": [length for _, _, length in rows],
            }
        )
    return {"queues": found}


def _period(body: fields.Body) -> tuple[float, float, float]:
    for name in ("from_date", "to_date", "interval"):
        if body.get(name) is None:
            raise invalid(name, "Field is required")
    start, end = fields.number(body, "from_date"), fields.number(body, "to_date")
    interval = max(fields.number(body, "interval"), _SHORTEST_INTERVAL)
    if not (0 <= start < end):
        raise invalid("to_date", "Value is not after from_date")
    if (end - start) / interval > _MOST_POINTS:
        raise invalid("interval", f"More than {_MOST_POINTS} points")
    return start, end, interval


def _series(series: dict[tuple[str, str], Body]) -> list[Body]:
    shown = []
    for one in series.values():
        stats = [{"aggregation": name, "values": values} for name, values in one["stats"].items()]
        shown.append({"metric": one["metric"], "variant": one["variant"], "dates": one["dates"], "stats": stats})
    return shown
