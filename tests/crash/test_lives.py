"""Crashes in lives that end in another way: aborted, failing, never prepared, stopped with their agent."""

from __future__ import annotations

import contextlib
import signal

import pytest

from tests.crash import lives
from tests.crash.points import Point, points
from tests.crash.yard import Yard
from tests.helpers.worker_tools import FINAL, until

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, id=str(point), marks=() if point.core else pytest.mark.slow)
        for point in points()
        if point.life in lives.ENDS
    ],
)
def test_another_end_outlives_a_crash(yard: Yard, point: Point) -> None:
    task = lives.begun(yard, point.life, lambda: yard.arm(point))
    if point.life == "leaving":
        _leave(yard, task)
    (seen,) = yard.final(task)
    if point.nth > 1 and not yard.has_fired():
        pytest.skip("how many requests a console takes is a matter of time; this one was not made")
    assert yard.has_fired(), "the agent did not come to this point; record the events again"
    second = yard.task(lines=1)
    yard.enqueue(second)
    (after,) = yard.final(second)
    starts = 0 if point.life == "unprepared" else 1
    wrong = [*yard.judge(seen, point.kill, lives.ENDS[point.life]), *yard.judge(after), *yard.settled()]
    if yard.starts(task) != starts and not seen["status_reason"].startswith("runner lost"):
        wrong.append(f"the user's code was started {yard.starts(task)} times")
    assert not wrong, "\n".join([*wrong, yard.words()])
    if "nursery" in point.kill and "daemon" not in point.kill:
        yard.renew()


def _leave(yard: Yard, task: str) -> None:
    yard.gone()
    yard.up()
    # an agent that was killed before its order to stop arrived has taken the task up again: it is told once more
    with contextlib.suppress(AssertionError):
        until(lambda: yard.agent.get(task)["status"] in FINAL, 10.0)
        return
    yard.stop(signal.SIGINT)
    yard.gone()
    yard.up()
