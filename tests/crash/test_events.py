"""The matrix is whole: it has the points that the agent comes by, and the page lists them."""

from __future__ import annotations

import pytest

from tests.crash.document import PAGE, page
from tests.crash.points import calls, known_events, points
from tests.crash.record import record


def test_there_are_enough_points() -> None:
    assert len({(point.role, point.when, point.event) for point in points() if point.core}) >= 40
    assert len(calls()) >= 10


def test_the_page_lists_the_points() -> None:
    assert PAGE.read_text() == page(), "write it anew: python -m tests.crash.record"


@pytest.mark.crash
def test_the_agent_comes_by_the_points_that_are_known_and_no_others() -> None:
    known = {(event.life, event.role, event.name) for event in known_events()}
    found = {(event.life, event.role, event.name) for event in record()}
    assert found - known == set(), "record them: python -m tests.crash.record"
    assert known - found == set(), "record the events again: python -m tests.crash.record"
