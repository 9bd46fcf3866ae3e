"""A task's summary of its scalars: last, least, greatest, first and mean value of each metric and variant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from clearml_agent_clone.server.events.store import SINGLE_VALUE, PointRow

Summary = dict[str, dict[str, dict[str, Any]]]
"""``task.last_metrics``: digest of the metric → digest of the variant → values."""

_NOT_PROGRESS = frozenset({":monitor:machine", ":monitor:gpu"})
"""Metrics whose iterations are seconds of wall-clock time, not steps of the task."""


def digest(name: str) -> str:
    """The key under which the summary keeps a metric or variant; clients compute the same."""
    return hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()


def highest_iteration(rows: Iterable[PointRow]) -> int | None:
    """How far the task has come by these points, None when they do not say."""
    return max(
        (row.iter for row in rows if row.iter != SINGLE_VALUE and row.metric not in _NOT_PROGRESS),
        default=None,
    )


def add_to_summary(summary: Mapping[str, Mapping[str, Any]], scalars: Iterable[PointRow]) -> Summary:
    """``summary`` with the scalars of one batch taken in; the one given stays as it is."""
    changed: Summary = {metric: dict(variants) for metric, variants in summary.items()}
    for row in sorted(scalars, key=lambda row: row.timestamp):
        if row.value is None:
            continue
        variants = changed.setdefault(digest(row.metric), {})
        place = digest(row.variant)
        variants[place] = _with(variants.get(place), row, row.value)
    return changed


def _with(old: Mapping[str, Any] | None, row: PointRow, value: float) -> dict[str, Any]:
    here = {"value": value, "iteration": row.iter}
    least = greatest = first = here
    count, mean = 1, value
    if old is not None:
        least, greatest, first = _kept(old, "min", value), _kept(old, "max", value), _kept(old, "first", value)
        least = least if least["value"] <= value else here
        greatest = greatest if greatest["value"] >= value else here
        count = int(old.get("count") or 0) + 1
        before = float(old.get("mean_value") or 0.0)
        mean = before + (value - before) / count
    result: dict[str, Any] = {"metric": row.metric, "variant": row.variant, "value": value}
    for name, part in (("min", least), ("max", greatest), ("first", first)):
        result[f"{name}_value"] = part["value"]
        result[f"{name}_value_iteration"] = part["iteration"]
    return {**result, "count": count, "mean_value": mean}


def _kept(old: Mapping[str, Any], name: str, default: float) -> dict[str, Any]:
    value = old.get(f"{name}_value")
    return {"value": default if value is None else value, "iteration": old.get(f"{name}_value_iteration")}
