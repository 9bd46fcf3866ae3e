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
