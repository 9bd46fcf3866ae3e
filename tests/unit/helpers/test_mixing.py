"""In which units, and in which order, ``make test-all`` begins the tests."""

from __future__ import annotations

from typing import cast

import attrs
import pytest

from tests.mixing import mixed, unit_of


@pytest.mark.parametrize(
    ("nodeid", "unit"),
    [
        ("tests/crash/test_points.py::test_x[a b]", "tests/crash/test_points.py::test_x[a b]"),
        ("tests/integration/test_stop.py::test_x", "tests/integration/test_stop.py::test_x"),
        ("tests/integration/outages/test_away.py::test_x", "tests/integration/outages/test_away.py::test_x"),
        ("tests/integration/server/test_auth.py::test_x", "tests/integration/server/test_auth.py"),
        ("tests/integration/flows/test_remote.py::test_x[ours]", "tests/integration/flows/test_remote.py"),
        ("tests/integration/flows/test_remote.py::test_x[peer]", "tests/integration/flows/test_remote.py peer"),
        ("tests/unit/logs/test_fold.py::test_x[a]", "tests/unit/logs/test_fold.py"),
    ],
)
def test_what_stays_together(nodeid: str, unit: str) -> None:
    assert unit_of(nodeid) == unit


@attrs.frozen
class Item:
    """As much of a collected test as its order depends on."""

    nodeid: str
    marks: tuple[pytest.Mark, ...] = ()

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return next((mark for mark in self.marks if mark.name == name), None)


def test_tests_that_wait_are_spread_over_those_that_work_and_the_longest_begin() -> None:
    slow, long = pytest.mark.slow.mark, pytest.mark.timeout(300).mark
    marks: dict[str, tuple[pytest.Mark, ...]] = {
        "a": (),
        "b": (long,),
        "c": (),
        "d": (),
        "e": (slow,),
        "f": (slow, long),
    }
    items = [
        Item(f"tests/unit/test_{name}.py::test_{number}", kind) for name, kind in marks.items() for number in (1, 2)
    ]
    seen = [item.nodeid.partition("test_")[2] for item in mixed(cast("list[pytest.Item]", items))]
    assert [name[0] for name in seen] == list("ffaabbeeccdd")
    assert [name[-1] for name in seen] == ["1", "2"] * 6
