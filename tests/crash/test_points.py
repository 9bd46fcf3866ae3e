"""The crash matrix: at every point, before and after, nothing is lost, run twice, leaked, missing or repeated."""

from __future__ import annotations

import pytest

from tests.crash import lives
from tests.crash.points import Point, points
from tests.crash.yard import Yard

pytestmark = pytest.mark.crash

_ALL = points()


def _param(point: Point) -> object:
    return pytest.param(point, id=str(point), marks=() if point.core else pytest.mark.slow)


@pytest.mark.parametrize("point", [_param(point) for point in _ALL if point.life in {"warm", "cold"}])
def test_a_task_outlives_a_crash(yard: Yard, point: Point) -> None:
    first, second = lives.warm(yard) if point.life == "warm" else lives.cold(yard)
    yard.arm(point)
    yard.enqueue(first, second)
    seen, after = yard.final(first, second)
    assert yard.has_fired(), "the agent did not come to this point; record the events again"
    wrong = [*yard.judge(seen, point.kill), *yard.judge(after), *yard.settled()]
    if after["started"] < seen["completed"]:
        wrong.append("the second task was started before the first had ended")
    assert not wrong, "\n".join([*wrong, yard.words()])
    if "nursery" in point.kill and "daemon" not in point.kill:
        yard.renew()


@pytest.mark.parametrize("point", [_param(point) for point in _ALL if point.life in {"start", "stop"}])
def test_a_daemon_outlives_a_crash_at_its_beginning_or_end(yard: Yard, point: Point) -> None:
    if point.life == "start":
        lives.begin(yard)
    yard.arm(point)
    if point.life == "stop":
        lives.stop(yard)
    yard.up()
    task = yard.task(lines=3)
    yard.enqueue(task)
    (seen,) = yard.final(task)
    assert yard.has_fired(), "the agent did not come to this point; record the events again"
    wrong = [*yard.judge(seen), *yard.settled()]
    assert not wrong, "\n".join([*wrong, yard.words()])
