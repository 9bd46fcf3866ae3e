"""Scalars as curves: points in the order of their x, thinned out to a number that a client can draw."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import attrs

from clearml_agent_clone.server.events.selection import EVERYTHING, Selection
from clearml_agent_clone.server.events.store import SCALAR, SINGLE_VALUE, iso_time

DEFAULT_SAMPLES = 6000
AXES = ("iter", "timestamp", "iso_time")

Point = tuple[int, float]


@attrs.frozen
class Curve:
    """The points of one metric and variant."""

    metric: str
    variant: str
    points: tuple[Point, ...]

    def to_wire(self, axis: str) -> dict[str, Any]:
        xs: list[Any] = [x for x, _ in self.points]
        if axis == "iso_time":
            xs = [iso_time(x) for x in xs]
        return {"name": self.variant, "x": xs, "y": [y for _, y in self.points]}


def curves(
    db: sqlite3.Connection,
    owner: str,
    *,
    axis: str = "iter",
    samples: int = DEFAULT_SAMPLES,
    selection: Selection = EVERYTHING,
) -> Iterator[Curve]:
    """The curves of a task or model, by metric and variant; single values are no curves.

    Args:
        db: a connection.
        owner: the task's or model's id.
        axis: one of ``AXES``; the two times are drawn over milliseconds.
        samples: how many points a curve may have; above it, the mean of each window stands for it. 0 for all.
        selection: the metrics and variants wanted.
    """
    x = "iter" if axis == "iter" else "timestamp"
    rows = db.execute(
        f"SELECT metric, variant, {x}, value FROM point_events"  # noqa: S608 - the parts are ours
        f" WHERE owner = ? AND type = ? AND iter != ?{selection.sql} ORDER BY metric, variant, {x}, seq",
        (owner, SCALAR, SINGLE_VALUE, *selection.values),
    )
    for (metric, variant), group in groupby(rows, key=lambda row: (row[0], row[1])):
        points = tuple((row[2], row[3]) for row in group)
        yield Curve(metric, variant, thinned(points, samples))


def thinned(points: tuple[Point, ...], samples: int) -> tuple[Point, ...]:
    """At most ``samples`` points in place of ``points`` (sorted by x): windows of equal width, each as its mean.

    Points of the same x become one in any case.
    """
    if not points:
        return ()
    width = 1
    if 0 < samples < len(points):
        width = max(1, math.ceil((points[-1][0] - points[0][0] + 1) / samples))
    return tuple(_means(points, points[0][0], width))


def _means(points: Iterable[Point], start: int, width: int) -> Iterator[Point]:
    for window, group in groupby(points, key=lambda point: (point[0] - start) // width):
        values = [y for _, y in group]
        yield start + window * width, sum(y / len(values) for y in values)  # divided first: the sum may not overflow


def by_metric(found: Iterable[Curve], axis: str) -> dict[str, dict[str, Any]]:
    """Curves as the API answers them: metric → variant → ``{name, x, y}``."""
    metrics: dict[str, dict[str, Any]] = {}
    for curve in found:
        metrics.setdefault(curve.metric, {})[curve.variant] = curve.to_wire(axis)
    return metrics
