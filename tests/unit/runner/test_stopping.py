"""Requests to stop, and how long the last words may take."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from clearml_agent_clone.runner.outcome import Cause
from clearml_agent_clone.runner.patience import LAST_WORDS, LAST_WORDS_NOW, Patience
from clearml_agent_clone.runner.stop import StopRequest, StopSignal


class Timer:
    """A timer that the test lets go off."""

    made: list[Timer]

    def __init__(self, seconds: float, call: Callable[[], object]) -> None:
        self.seconds, self.call, self.cancelled, self.daemon = seconds, call, False, False
        self.made.append(self)

    def start(self) -> None: ...

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def timers(monkeypatch: pytest.MonkeyPatch) -> list[Timer]:
    Timer.made = []
    monkeypatch.setattr("clearml_agent_clone.runner.patience.threading.Timer", Timer)
    return Timer.made


def test_the_first_request_counts_and_any_may_be_in_a_hurry() -> None:
    stop = StopSignal()
    assert not stop.hurried()
    stop.set(StopRequest(Cause.ABORT, "first"))
    stop.set(StopRequest(Cause.SHUTDOWN, "second"))
    assert stop.outcome(-15).cause is Cause.ABORT
    assert stop.cancel.is_set()
    assert os.read(stop.wake, 10) == b"x"
    assert not stop.hurried()
    stop.set(StopRequest(Cause.SHUTDOWN, now=True))
    assert stop.hurried()
    assert stop.outcome(None, begun=False).cause is Cause.ABORT
    stop.close()


def test_a_stop_gives_up_what_waits_and_last_words_wait_again(timers: list[Timer]) -> None:
    given_up = threading.Event()
    patience = Patience(given_up)
    patience.stop_asked(with_agent=False, now=False)
    assert given_up.is_set()
    patience.begin_last_words()
    assert not given_up.is_set()
    assert not timers, "only the task was stopped: it takes as long as it takes"


@pytest.mark.parametrize(("now", "seconds"), [(False, LAST_WORDS), (True, LAST_WORDS_NOW)])
@pytest.mark.parametrize("before", [True, False])
def test_an_agent_that_is_stopped_has_limited_patience(
    timers: list[Timer], now: bool, seconds: float, before: bool
) -> None:
    given_up = threading.Event()
    patience = Patience(given_up)
    ended: list[Any] = []
    patience.at_its_end(lambda: ended.append(1))
    if before:
        patience.stop_asked(with_agent=True, now=now)
    patience.begin_last_words()
    if not before:
        patience.stop_asked(with_agent=True, now=now)
    assert not given_up.is_set()
    assert [timer.seconds for timer in timers] == [seconds]
    timers[0].call()
    assert given_up.is_set()
    assert ended == [1]
    patience.end()
    assert timers[0].cancelled


def test_a_later_request_may_shorten_the_patience_and_none_may_lengthen_it(timers: list[Timer]) -> None:
    patience = Patience(threading.Event())
    patience.begin_last_words()
    patience.stop_asked(with_agent=True, now=False)
    patience.stop_asked(with_agent=True, now=True)
    patience.stop_asked(with_agent=True, now=False)
    assert [timer.seconds for timer in timers] == [LAST_WORDS, LAST_WORDS_NOW, LAST_WORDS_NOW]
    assert [timer.cancelled for timer in timers] == [True, True, False]
