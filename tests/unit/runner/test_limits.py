"""What a task may take: the agent's word and the task's."""

from __future__ import annotations

import signal

import pytest

from clearml_agent_clone.config.settings_agent import AgentSettings
from clearml_agent_clone.runner.limits import Limits, TimeLimit
from clearml_agent_clone.runner.outcome import Cause
from clearml_agent_clone.runner.stop import StopRequest
from tests.unit.runner.settings_tools import agent_settings


@pytest.fixture
def agent() -> AgentSettings:
    return agent_settings({"abort_grace_sec": 30, "max_task_seconds": 100, "abort_callback_max_timeout": 60})


@pytest.mark.parametrize(
    ("properties", "limits"),
    [
        ({}, Limits(30, 100)),
        ({"max_task_seconds": "50"}, Limits(30, 50)),
        ({"max_task_seconds": "500"}, Limits(30, 100)),  # a task may ask for less only
        ({"max_task_seconds": "0"}, Limits(30, 100)),
        ({"abort_grace_sec": "45.5"}, Limits(45.5, 100)),
        ({"abort_grace_sec": "0"}, Limits(0, 100)),
        ({"abort_grace_sec": "86400"}, Limits(60, 100)),
        ({"abort_signal": " sigusr2 "}, Limits(30, 100, signal.SIGUSR2)),
        ({"abort_signal": "INT"}, Limits(30, 100, signal.SIGINT)),
        ({"unrelated": "x"}, Limits(30, 100)),
    ],
)
def test_the_agent_sets_the_frame_and_the_task_moves_inside(
    agent: AgentSettings, properties: dict[str, str], limits: Limits
) -> None:
    said: list[str] = []
    assert Limits.decide(properties, agent, said.append) == limits
    assert not said
    assert Limits.from_record(limits.to_record(), agent) == limits


@pytest.mark.parametrize(
    "properties",
    [
        {"max_task_seconds": "an hour"},
        {"max_task_seconds": "-1"},
        {"max_task_seconds": "inf"},
        {"abort_grace_sec": "nan"},
        {"abort_signal": "SIGKILL"},
        {"abort_signal": "SIGWHAT"},
    ],
)
def test_what_cannot_be_used_is_said_and_left_out(agent: AgentSettings, properties: dict[str, str]) -> None:
    said: list[str] = []
    assert Limits.decide(properties, agent, said.append) == Limits(30, 100)
    [(name, value)] = properties.items()
    assert len(said) == 1
    assert name in said[0]
    assert value in said[0]


def test_without_a_limit_of_the_agent_the_tasks_own_counts() -> None:
    agent = agent_settings({})
    assert Limits.decide({}, agent, print).seconds == 0
    assert Limits.decide({"max_task_seconds": "7"}, agent, print).seconds == 7


@pytest.mark.parametrize("record", [None, {}, {"grace": "x", "seconds": 1, "first": 15}, []])
def test_a_record_that_cannot_be_read_is_the_agents_word(agent: AgentSettings, record: object) -> None:
    assert Limits.from_record(record, agent) == Limits(30, 100)


def test_the_limit_is_looked_at_when_it_is_due_and_the_age_decides() -> None:
    age = 10.0
    requests: list[StopRequest] = []
    limit = TimeLimit(60, lambda: age, requests.append)
    assert limit.step(0) == 50
    age = 59.9
    assert limit.step(0) == pytest.approx(0.1)
    assert not requests
    age = 60.0
    limit.step(0)
    assert [(request.cause, request.detail) for request in requests] == [(Cause.TIME_LIMIT, "60")]
    age = -1e9  # long before: the next look comes within the hour all the same
    assert limit.step(0) == 3600
