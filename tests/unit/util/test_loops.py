from __future__ import annotations

import threading

import attrs
import pytest

from clearml_agent_clone.errors import Retryable
from clearml_agent_clone.util.loops import LONGEST_PAUSE, Backoff, LoopThread


class Duty:
    name = "duty"

    def __init__(self, fail: int = 0) -> None:
        self.fail = fail
        self.steps = 0
        self.done = threading.Event()

    def step(self, now: float) -> float:
        self.steps += 1
        if self.steps <= self.fail:
            raise Retryable("away") if self.steps % 2 else ValueError("a bug")
        self.done.set()
        return 3600.0


def test_a_loop_steps_wakes_and_stops() -> None:
    duty = Duty()
    thread = LoopThread(duty)
    thread.start()
    assert duty.done.wait(10)
    duty.done.clear()
    thread.wake()
    assert duty.done.wait(10)
    assert thread.stop(10)
    assert thread.health.last_success is not None


def test_errors_and_bugs_do_not_end_a_loop() -> None:
    duty = Duty(fail=2)
    thread = LoopThread(duty)
    thread.start()
    assert duty.done.wait(20)
    assert thread.stop(10)


def test_pauses_grow_with_jitter_and_start_anew_after_success() -> None:
    backoff = Backoff(draw=lambda: 1.0)
    pauses = [backoff.failed() for _ in range(8)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE]
    assert Backoff(draw=lambda: 0.0).failed() == 0.25
    backoff.worked()
    assert backoff.failed() == 0.5


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_loop_is_late_by_its_own_interval_only() -> None:
    clock = Clock()
    thread = LoopThread(Duty(), clock)
    assert thread.health.late(clock.now) == 0.0  # not started: nobody expects anything
    thread._once()
    clock.now += 3600
    assert thread.health.late(clock.now) == 0.0
    clock.now += 7
    assert thread.health.late(clock.now) == 7.0


def test_a_loop_that_is_woken_and_fails_is_late_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    clock, duty = Clock(), Duty()
    thread = LoopThread(duty, clock)
    thread._once()
    duty.fail = 3
    clock.now += 10  # woken long before its hour is over
    thread._once()
    clock.now += 90
    thread._once()
    health = thread.health
    assert (health.late(clock.now), health.errors, health.last_error) == (90.0, 2, "away")
    assert (health.last_success, health.failing_since) == (1000.0, 1010.0)
    clock.now += 10
    with caplog.at_level("INFO"):
        thread._once()
    assert thread.health == attrs.evolve(health, last_success=clock.now, last_error="", failing_since=None, due=4710.0)
    assert "duty works again after 100 s" in caplog.text


def test_an_error_without_words_is_known_by_its_kind() -> None:
    class Mute:
        name = "mute"

        def step(self, now: float) -> float:
            raise KeyError

    thread = LoopThread(Mute())
    thread._once()
    assert thread.health.last_error == "KeyError"


class Away:
    """Fails in the way that is set."""

    name = "away"

    def __init__(self) -> None:
        self.error = Retryable("no answer", code="one")

    def step(self, now: float) -> float:
        raise self.error


def test_the_same_error_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock, duty = Clock(), Away()
    thread = LoopThread(duty, clock)
    for _ in range(20):
        clock.now += 30.0
        thread._once()
    assert caplog.messages == ["away: no answer"] * 2
    duty.error = Retryable("another", code="two")
    thread._once()
    assert caplog.messages[2:] == ["away: another"]


def test_an_error_that_all_know_is_not_logged_again_and_says_when_to_come_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    duty = Away()
    duty.error.told, duty.error.again_in = True, 7.0
    assert LoopThread(duty)._once() == 7.0
    assert caplog.messages == []
    duty.error.again_in = 0.0
    assert LoopThread(duty)._once() > 0.0
