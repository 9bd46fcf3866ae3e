"""Curves: order, thinning, axes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.server.events.curves import curves, thinned
from clearml_agent_clone.server.events.schema import MIGRATIONS
from clearml_agent_clone.server.events.selection import Selection
from clearml_agent_clone.server.events.store import SCALAR, SINGLE_VALUE, PointRow, add_points, iso_time


@pytest.fixture
def db() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    for script in MIGRATIONS:
        connection.executescript(script)
    yield connection
    connection.close()


def point(metric: str, variant: str, iteration: int, value: float, time: int = 0) -> PointRow:
    return PointRow("t", SCALAR, metric, variant, iteration, "", time, 0, "", value)


def test_by_metric_and_variant_in_order(db: sqlite3.Connection) -> None:
    add_points(db, [point("b", "x", 2, 20), point("b", "x", 1, 10), point("a", "y", 1, 5), point("b", "w", 1, 7)])
    found = [(curve.metric, curve.variant, curve.points) for curve in curves(db, "t")]
    assert found == [("a", "y", ((1, 5.0),)), ("b", "w", ((1, 7.0),)), ("b", "x", ((1, 10.0), (2, 20.0)))]


def test_single_values_are_no_curves(db: sqlite3.Connection) -> None:
    add_points(db, [point("Summary", "final", SINGLE_VALUE, 1)])
    assert not list(curves(db, "t"))


def test_a_second_report_of_an_iteration_replaces_the_first(db: sqlite3.Connection) -> None:
    add_points(db, [point("a", "x", 1, 1)])
    add_points(db, [point("a", "x", 1, 2)])
    (curve,) = curves(db, "t")
    assert curve.points == ((1, 2.0),)


def test_axes(db: sqlite3.Connection) -> None:
    add_points(db, [point("a", "x", 1, 1, 1_700_000_000_123)])
    (curve,) = curves(db, "t", axis="iso_time")
    assert curve.to_wire("iso_time") == {"name": "x", "x": ["2023-11-14T22:13:20.123Z"], "y": [1.0]}
    (curve,) = curves(db, "t", axis="timestamp")
    assert curve.to_wire("timestamp")["x"] == [1_700_000_000_123]


def test_selection(db: sqlite3.Connection) -> None:
    add_points(db, [point(metric, variant, 1, 1) for metric in "ab" for variant in "xy"])

    def selected(*asked: dict[str, object]) -> list[str]:
        return [curve.metric + curve.variant for curve in curves(db, "t", selection=Selection.of(asked))]

    assert selected({"metric": "a"}) == ["ax", "ay"]
    assert selected({"metric": "a", "variants": ["y"]}, {"metric": "b", "variants": ["x"]}) == ["ay", "bx"]
    assert selected({"metric": "a' OR 1=1 --"}) == []
    assert selected({}) == selected() == ["ax", "ay", "bx", "by"]


def test_windows_hold_their_mean() -> None:
    points = tuple((x, float(x)) for x in range(10))
    assert thinned(points, 5) == ((0, 0.5), (2, 2.5), (4, 4.5), (6, 6.5), (8, 8.5))
    assert thinned(points, 10) == thinned(points, 0) == points


def test_points_of_one_time_become_one() -> None:
    assert thinned(((5, 1.0), (5, 3.0)), 0) == ((5, 2.0),)


def test_huge_values_do_not_overflow() -> None:
    ((_, mean),) = thinned(((5, 1e308), (5, 1.5e308)), 0)
    assert mean == pytest.approx(1.25e308)


xs = st.lists(st.integers(-(2**40), 2**40), min_size=1, unique=True)


@given(xs=xs, samples=st.integers(1, 50))
def test_never_more_than_asked_and_always_in_order(xs: list[int], samples: int) -> None:
    found = thinned(tuple((x, 1.0) for x in sorted(xs)), samples)
    assert len(found) <= max(samples, 1)
    assert list(found) == sorted(found)
    assert all(value == pytest.approx(1.0) for _, value in found)


@pytest.mark.parametrize("time", [2**62, -(2**62)])
def test_times_beyond_the_calendar(time: int) -> None:
    assert iso_time(time) == ""
