from __future__ import annotations

import pytest

from clearml_agent_clone.api.errors import CredentialsRefused, ServerBusy, ServerUnreachable
from clearml_agent_clone.api.traffic import Reach, Traffic
from clearml_agent_clone.errors import Cancelled


def fail(traffic: Traffic, error: Exception) -> None:
    with pytest.raises(type(error)), traffic.observe("tasks.ping"):
        raise error


def test_requests_are_counted_by_result_and_the_last_of_each_kind_is_remembered() -> None:
    now = [10.0]
    traffic = Traffic(lambda: now[0])
    assert traffic.reach == Reach()
    with traffic.observe("tasks.ping"):
        pass
    now[0] = 20.0
    fail(traffic, ServerUnreachable("refused", code="connection-refused"))
    fail(traffic, ServerBusy("busy", status=503))
    assert traffic.reach == Reach(10.0, 20.0, "busy")
    now[0] = 30.0
    with traffic.observe("tasks.ping"):
        pass
    assert traffic.reach == Reach(30.0, 20.0, "")
    assert traffic.counts == {
        ("tasks.ping", "ok"): 2,
        ("tasks.ping", "connection-refused"): 1,
        ("tasks.ping", "server-busy"): 1,
    }


def test_a_refusal_is_an_answer_and_giving_up_is_nothing() -> None:
    traffic = Traffic(lambda: 1.0)
    fail(traffic, Cancelled())
    assert traffic.reach == Reach()
    fail(traffic, CredentialsRefused("no"))
    assert traffic.reach == Reach(1.0)
