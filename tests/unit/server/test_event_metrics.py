"""The summary of a task's scalars."""

from __future__ import annotations

import pytest

from clearml_agent_clone.server.events.metrics import Summary, add_to_summary, digest, highest_iteration
from clearml_agent_clone.server.events.store import SCALAR, SINGLE_VALUE, PointRow

LOSS, TRAIN = "81513effdf5790b79549208838404407", "61b3a8faa9c1091806675c230a9abe64"


def row(value: float, iteration: int, time: int = 0, metric: str = "loss", variant: str = "train") -> PointRow:
    return PointRow("t", SCALAR, metric, variant, iteration, "", time, 0, "", value)


def test_keys_are_those_the_sdk_computes() -> None:
    assert (digest("loss"), digest("train")) == (LOSS, TRAIN)


def test_values() -> None:
    values = [1.0, 0.5, 1 / 3, 0.25, 0.2, 1 / 6]
    summary = add_to_summary({}, [row(value, number, number) for number, value in enumerate(values)])
    assert summary[LOSS][TRAIN] == {
        "metric": "loss",
        "variant": "train",
        "value": 1 / 6,
        "min_value": 1 / 6,
        "min_value_iteration": 5,
        "max_value": 1.0,
        "max_value_iteration": 0,
        "first_value": 1.0,
        "first_value_iteration": 0,
        "count": 6,
        "mean_value": pytest.approx(sum(values) / 6),
    }


@pytest.mark.parametrize("cuts", [[1, 1, 1, 1], [2, 2], [3, 1], [4]])
def test_batches_add_up(cuts: list[int]) -> None:
    rows = [row(3, 0, 0), row(-1, 1, 1), row(7, 2, 2), row(2, 3, 3)]
    summary: Summary = {}
    for cut in cuts:
        summary = add_to_summary(summary, rows[:cut])
        rows = rows[cut:]
    entry = summary[LOSS][TRAIN]
    assert (entry["value"], entry["min_value"], entry["max_value"], entry["first_value"]) == (2, -1, 7, 3)
    assert (entry["min_value_iteration"], entry["max_value_iteration"], entry["first_value_iteration"]) == (1, 2, 0)
    assert entry["count"] == 4
    assert entry["mean_value"] == pytest.approx(11 / 4)


def test_last_is_by_time_not_by_place_in_the_batch() -> None:
    assert add_to_summary({}, [row(1, 5, 20), row(2, 6, 10)])[LOSS][TRAIN]["value"] == 1


def test_the_given_summary_stays() -> None:
    before = add_to_summary({}, [row(1, 0)])
    add_to_summary(before, [row(9, 1), row(1, 0, metric="acc")])
    assert before == add_to_summary({}, [row(1, 0)])


def test_progress_is_the_highest_iteration_that_is_one() -> None:
    rows = [row(1, 4), row(1, SINGLE_VALUE), row(1, 900, metric=":monitor:machine"), row(1, 7)]
    assert highest_iteration(rows) == 7
    assert highest_iteration(rows[1:3]) is None
