"""Whatever JSON a server sends, it can be read."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearml_agent_clone.api.token import Token, parse_version
from clearml_agent_clone.api.types import Entry, Queue, Requirements, Script, Task, TaskState, TaskStatus, Worker

from .conftest import jwt

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


patient = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
"""The machine may be busy with something else; that says nothing about our code."""


def _object(*classes: type[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = {field.name for cls in classes for field in attrs.fields(cls)} | {"execution"}
    return st.dictionaries(st.sampled_from(sorted(names)), ANYTHING, max_size=8)


@patient
@given(_object(Task, Script))
def test_tasks(data: dict[str, Any]) -> None:
    task = Task.from_wire({**data, "script": data})
    assert isinstance(task.id, str)
    assert isinstance(task.status, TaskStatus)
    assert all(isinstance(tag, str) for tag in task.system_tags)
    assert isinstance(task.script.entry_point, str)
    for section in task.hyperparams.values():
        assert all(isinstance(value, str) for value in section.values())


@patient
@given(_object(Queue, Worker, TaskState))
def test_the_others(data: dict[str, Any]) -> None:
    assert isinstance(Queue.from_wire(data).entries, tuple)
    assert isinstance(Worker.from_wire(data).queues, tuple)
    assert isinstance(TaskState.from_wire(data).runtime, dict)


@patient
@given(ANYTHING)
def test_parts(value: Any) -> None:
    assert isinstance(Script.from_wire(value), Script)
    assert isinstance(Requirements.from_wire(value).to_wire(), dict)
    entry = Entry.from_wire(value, "q")
    assert entry is None or entry.task


@patient
@given(ANYTHING)
def test_tokens(value: Any) -> None:
    claims = {"api_version": value, "exp": value, "iat": value, "identity": value, "extensions": value}
    token = Token.read(jwt(**claims), 0.0)
    assert len(token.server.api_version) == 2
    assert token.lifetime is None or token.lifetime >= 0.0
    assert isinstance(Token.read(str(value), 0.0).text, str)


def test_a_token_of_enormous_numbers() -> None:
    assert Token.read(jwt(exp=10**400, iat=-(10**400)), 0.0).lifetime is None


def test_versions_are_numbers() -> None:
    assert parse_version("2.9") < parse_version("2.34")
    assert parse_version("2") == (2, 0)
    assert parse_version(2.5) == (2, 5)
    assert parse_version("2.x") == parse_version(None) == (0, 0)


def test_an_entry_names_its_queue() -> None:
    assert Entry.from_wire({"task": "t", "added": "2026"}, "q") == Entry("t", "q", "2026")
    assert Entry.from_wire({"task": "t", "queue": "r"}, "q") == Entry("t", "r", "")
    assert Entry.from_wire({}, "q") is None
