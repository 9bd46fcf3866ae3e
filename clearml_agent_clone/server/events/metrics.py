"""A task's summary of its scalars: last, least, greatest, first and mean value of each metric and variant."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from operator import itemgetter
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
    groups: dict[tuple[str, str], list[tuple[float, int, int]]] = {}
    for row in scalars:
        if row.value is not None:
            groups.setdefault((row.metric, row.variant), []).append((row.value, row.iter, row.timestamp))
    for (metric, variant), reports in groups.items():
        variants = changed.setdefault(digest(metric), {})
        place = digest(variant)
        variants[place] = {"metric": metric, "variant": variant, **_with(variants.get(place) or {}, reports)}
    return changed


def _with(old: Mapping[str, Any], reports: list[tuple[float, int, int]]) -> dict[str, Any]:
    """The entry ``old`` with reports (value, iteration, time) taken in; of equal values the earlier one stays."""
    reports.sort(key=itemgetter(2))
    extremes = {
        "min": min(reports, key=itemgetter(0)),
        "max": max(reports, key=itemgetter(0)),
        "first": reports[0],
    }
    before = int(old.get("count") or 0)
    count = before + len(reports)
    mean = float(old.get("mean_value") or 0.0) * (before / count) + sum(value / count for value, _, _ in reports)
    entry: dict[str, Any] = {"value": reports[-1][0]}
    for name, (value, iteration, _) in extremes.items():
        kept = old.get(f"{name}_value")
        wins = kept is None or (value < kept if name == "min" else value > kept if name == "max" else False)
        entry[f"{name}_value"] = value if wins else kept
        entry[f"{name}_value_iteration"] = iteration if wins else old.get(f"{name}_value_iteration")
    return {**entry, "count": count, "mean_value": mean}
