from __future__ import annotations

from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.runner.outcome import Cause
from clearml_agent_clone.runner.stop import StopRequest
from clearml_agent_clone.runner.watch import StopCheck, callback_seconds, judge


@attrs.frozen
class Seen:
    status: TaskStatus
    status_message: str = ""
    runtime: dict[str, Any] = attrs.Factory(dict)
    started: str = "first"
    last_worker: str = "us"


@pytest.mark.parametrize(
    ("seen", "cause"),
    [
        (Seen(TaskStatus.IN_PROGRESS), None),
        (Seen(TaskStatus.IN_PROGRESS, "stopping"), Cause.ABORT),
        (Seen(TaskStatus.COMPLETED), None),
        (Seen(TaskStatus.PUBLISHING), None),
        (Seen(TaskStatus.UNKNOWN), None),
        (Seen(TaskStatus.STOPPED), Cause.STATUS_CHANGED),
        (Seen(TaskStatus.CLOSED), Cause.STATUS_CHANGED),
        (Seen(TaskStatus.PUBLISHED), Cause.STATUS_CHANGED),
        (Seen(TaskStatus.QUEUED), Cause.STATUS_CHANGED),
        (Seen(TaskStatus.FAILED), Cause.FAILED_OUTSIDE),
        (Seen(TaskStatus.CREATED), Cause.RESET),
        (None, Cause.GONE),
    ],
)
def test_what_the_server_says_decides(seen: Seen | None, cause: Cause | None) -> None:
    request = judge(seen, 1800)
    assert (request.cause if request else None) is cause


def test_a_reset_is_believed_at_the_third_look_and_an_abort_at_once() -> None:
    requests: list[StopRequest] = []
    now: list[Seen] = [Seen(TaskStatus.CREATED)]
    check = StopCheck(lambda: now[0], requests.append, worker_id="us", longest_callback=1800)
    check.step(0)
    check.step(1)
    assert not requests
    now[0] = Seen(TaskStatus.IN_PROGRESS)
    check.step(2)  # it was a passing state: the count starts anew
    now[0] = Seen(TaskStatus.CREATED)
    check.step(3)
    check.step(4)
    assert not requests
    check.step(5)
    assert [request.cause for request in requests] == [Cause.RESET]
    now[0] = Seen(TaskStatus.IN_PROGRESS, "stopping")
    check.step(6)
    assert requests[-1].cause is Cause.ABORT


def test_a_task_that_another_worker_has_started_since_is_not_ours() -> None:
    requests: list[StopRequest] = []
    at_work = Seen(TaskStatus.IN_PROGRESS)
    now = [at_work]
    check = StopCheck(lambda: now[0], requests.append, worker_id="us", longest_callback=1800)
    for seen in (
        at_work,
        attrs.evolve(at_work, last_worker="them"),  # somebody has reported it by mistake; nobody has started it
        attrs.evolve(at_work, started=""),  # half of a reset
        attrs.evolve(at_work, started="anew"),  # the task has reset itself; or the other has not reported yet
        attrs.evolve(at_work, started="anew", last_worker=""),
    ):
        now[0] = seen
        check.step(0)
    assert not requests
    now[0] = attrs.evolve(at_work, started="anew", last_worker="them")
    check.step(1)
    assert [request.cause for request in requests] == [Cause.RESET]


def test_that_a_task_is_gone_is_believed_at_the_tenth_look() -> None:
    requests: list[StopRequest] = []
    now: list[Seen | None] = [None]
    check = StopCheck(lambda: now[0], requests.append, worker_id="us", longest_callback=1800)
    for second in range(9):
        check.step(second)
    now[0] = Seen(TaskStatus.IN_PROGRESS)
    check.step(9)
    now[0] = None
    for second in range(10, 19):
        check.step(second)
    assert not requests
    check.step(19)
    assert [request.cause for request in requests] == [Cause.GONE]


@pytest.mark.parametrize(
    ("runtime", "seconds"),
    [
        ({}, 0.0),
        ({"_abort_callback_timeout": 30, "_abort_poll_freq": 15}, 45.0),
        ({"_abort_callback_timeout": "30"}, 30.0),
        ({"_abort_callback_timeout": 99999}, 1800.0),
        ({"_abort_callback_timeout": "soon"}, 0.0),
        ({"_abort_callback_timeout": -5}, 0.0),
    ],
)
def test_the_abort_callback_gets_its_time_and_no_more(runtime: dict[str, Any], seconds: float) -> None:
    assert callback_seconds(runtime, 1800.0) == seconds
