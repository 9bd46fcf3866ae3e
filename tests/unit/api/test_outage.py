"""Whether a request makes sense now, as all callers of a session know it together."""

from __future__ import annotations

import logging
import random

import attrs
import pytest

from clearml_agent_clone.api.errors import CredentialsRefused, ServerBusy, ServerUnreachable
from clearml_agent_clone.api.outage import LONGEST_PAUSE, REFUSED_PAUSE, Outage

GONE = "http://x refused the connection"


@attrs.define
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def outage(clock: Clock) -> Outage:
    return Outage("http://x", random.Random(1), monotonic=clock, clock=lambda: 0.0)


def gone() -> ServerUnreachable:
    return ServerUnreachable(GONE, code="connection-refused", may_have_acted=True)


def fail(outage: Outage, error: ServerUnreachable | ServerBusy | CredentialsRefused | None = None) -> float:
    """A try that was let in and failed; the seconds until the next."""
    assert outage.enter() == 0.0
    outage.failed(error or gone(), "tasks.ping", outage.now())
    return outage.enter()


def test_all_are_let_in_while_it_works(outage: Outage) -> None:
    assert [outage.enter() for _ in range(3)] == [0.0, 0.0, 0.0]
    outage.worked("tasks.ping")
    assert not outage.is_away
    assert outage.refusal(1.0) is None


def test_one_at_a_time_asks_while_it_is_away_and_the_first_answer_ends_it(outage: Outage, clock: Clock) -> None:
    pause = fail(outage)
    assert 0.25 <= pause <= 0.5
    clock.now += pause
    assert outage.enter() == 0.0
    assert outage.enter() == 1.0  # somebody is asking
    clock.now += 9.5
    assert outage.enter() == 0.5
    clock.now += 0.5
    assert outage.enter() == 0.0  # and hangs: the next one may
    outage.worked("tasks.get_all")
    assert (outage.is_away, outage.enter(), outage.ended) == (False, 0.0, 1)


def test_who_is_not_let_in_gets_the_error_of_who_was(outage: Outage) -> None:
    pause = fail(outage)
    error = outage.refusal(pause)
    assert isinstance(error, ServerUnreachable)
    assert (error.message, error.code, error.again_in, error.told) == (GONE, "connection-refused", pause, True)
    assert not error.may_have_acted  # it was not even sent


def test_pauses_grow_and_requests_stay_few(outage: Outage, clock: Clock) -> None:
    begin, tries = clock.now, 0
    while clock.now < begin + 600:
        clock.now += fail(outage)
        tries += 1
    assert tries < 100
    assert LONGEST_PAUSE / 2 <= fail(outage) <= LONGEST_PAUSE


def test_who_gave_up_lets_the_next_one_try(outage: Outage, clock: Clock) -> None:
    clock.now += fail(outage)
    assert outage.enter() == 0.0
    outage.gave_up()
    assert outage.enter() == 0.0


def test_the_caller_whose_pause_counts_comes_back_without_asking(outage: Outage, clock: Clock) -> None:
    assert outage.enter() == 0.0
    ticket = outage.failed(gone(), "tasks.started", outage.now(), pause=3.0)
    assert outage.enter() == 3.0
    assert outage.enter(ticket) == 0.0
    assert outage.enter(ticket) == 1.0  # once
    ticket = outage.failed(gone(), "tasks.started", outage.now(), pause=3.0)
    clock.now += 3.0
    assert outage.enter() == 0.0  # another was faster
    assert outage.enter(ticket) == 1.0


def test_a_pause_that_the_server_asked_for_is_kept_by_all_even_when_another_call_works(
    outage: Outage, clock: Clock
) -> None:
    pause = fail(outage, ServerBusy("slow down", status=429, retry_after=60.0))
    assert 60.0 <= pause <= 61.0
    outage.worked("queues.get_next_task")  # it was under way
    assert outage.enter() == pause
    clock.now += pause
    assert outage.enter() == 0.0
    outage.worked("tasks.ping")
    assert not outage.is_away


def test_a_429_without_a_pause_counts_for_all_too(outage: Outage) -> None:
    outage.worked("tasks.get_all")
    assert 0.25 <= fail(outage, ServerBusy("slow down", status=429)) <= 0.5


def test_refused_credentials_are_tried_slowly(outage: Outage, clock: Clock) -> None:
    for _ in range(3):
        pause = fail(outage, CredentialsRefused("no"))
        assert REFUSED_PAUSE <= pause <= REFUSED_PAUSE * 1.5
        assert isinstance(outage.refusal(pause), CredentialsRefused)
        clock.now += pause


@pytest.mark.parametrize(
    "error",
    [ServerBusy("broken", status=500), CredentialsRefused("api.credentials is not set", code="credentials-missing")],
)
def test_what_concerns_one_call_only(outage: Outage, error: ServerBusy | CredentialsRefused) -> None:
    assert fail(outage, error) == 0.0
    assert not error.told


def test_an_endpoint_that_fails_while_others_work_has_a_trouble_of_its_own(outage: Outage, clock: Clock) -> None:
    def add_batch() -> bool:
        clock.now += 0.1
        outage.failed(ServerBusy("no", status=503), "events.add_batch", outage.now())
        return outage.is_away

    def works(endpoint: str) -> None:
        clock.now += 0.1
        outage.worked(endpoint)

    assert add_batch()  # who knows
    works("tasks.get_all")
    assert not add_batch()  # others work
    works("events.add_batch")
    assert add_batch()
    works("events.add_batch")
    begun = outage.now()
    works("tasks.get_all")
    outage.failed(gone(), "events.add_batch", begun)  # it hung while another was answered
    assert not outage.is_away


def test_a_request_that_hung_is_told_at_once(outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    begun = outage.now()
    clock.now += 30.0
    outage.failed(gone(), "tasks.get_all", begun)
    assert len(caplog.messages) == 1


def test_few_lines_are_logged(outage: Outage, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock.now += fail(outage)
    outage.worked("tasks.ping")
    assert caplog.messages == []  # a moment
    begin = clock.now
    while clock.now < begin + 3600:
        clock.now += fail(outage)
    outage.worked("tasks.ping")
    first, last = caplog.messages[0], caplog.messages[-1]
    assert first.startswith("server http://x cannot be used since ")
    assert GONE in first
    assert last.startswith("server http://x answers again after 36")
    assert 6 <= len(caplog.messages) <= 9
