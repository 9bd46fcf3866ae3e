from __future__ import annotations

import pytest

from clearml_agent_clone.errors import Fatal, Retryable
from clearml_agent_clone.runner.outbox import Outbox


def test_calls_keep_their_order_when_the_server_is_away() -> None:
    outbox, made, away = Outbox(), [], [True]

    def call(name: str) -> None:
        if away[0]:
            raise Retryable("server away")
        made.append(name)

    outbox.put("first", lambda: call("first"))
    outbox.put("second", lambda: call("second"))
    with pytest.raises(Retryable):
        outbox.step(0)
    away[0] = False
    outbox.step(1)
    assert made == ["first", "second"]


def test_a_refused_call_does_not_hold_up_the_next(caplog: pytest.LogCaptureFixture) -> None:
    outbox, made = Outbox(), []

    def refuse() -> None:
        raise Fatal("no such task")

    outbox.put("refused", refuse)
    outbox.put("next", lambda: made.append("next"))
    outbox.step(0)
    assert made == ["next"]
    assert "refused: no such task" in caplog.text


class Away:
    """A server that comes back after so many tries."""

    def __init__(self, tries: int, *, told: bool) -> None:
        self.tries = tries
        self.told = told
        self.made: list[str] = []

    def call(self) -> None:
        self.tries -= 1
        if self.tries >= 0:
            error = Retryable("server away")
            if self.told:
                error.told, error.again_in = True, 3.0
            raise error
        self.made.append("call")


def test_the_end_waits_for_a_server_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    outbox, server = Outbox(), Away(100, told=True)
    waits: list[float] = []
    outbox.put("call", server.call)
    outbox.drain(waits.append)
    assert server.made == ["call"]
    assert waits == [3.0] * 100
    assert caplog.messages == []


def test_the_end_does_not_wait_for_ever_for_a_call_that_fails_while_others_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outbox, server, other = Outbox(), Away(100, told=False), Away(0, told=False)
    waits: list[float] = []
    outbox.put("call", server.call)
    outbox.put("other", other.call)
    outbox.drain(waits.append)
    assert (len(waits), server.tries, other.made) == (4, 95, ["call"])
    assert caplog.messages == ["call: server away"]


def test_an_agent_that_has_to_end_drops_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    outbox, server = Outbox(), Away(100, told=True)
    outbox.put("call", server.call)
    outbox.drain(lambda seconds: pytest.fail("it waited"), give_up=lambda: True)
    assert caplog.messages == ["1 calls were not made: server away"]
