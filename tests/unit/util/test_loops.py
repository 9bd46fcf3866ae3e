from __future__ import annotations

import threading

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
