"""Events as clients send them, good and bad."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.server.events.parse import Owner, Parsed, add_event, parse_lines
from clearml_agent_clone.server.events.store import LogRow, PointRow

TASK = "0123456789abcdef0123456789abcdef"
NOW = 1_700_000_000_000


def parse(*events: object) -> Parsed:
    return parse_lines([json.dumps(event).encode() for event in events], worker="host", now=NOW)


def test_log_line_takes_time_and_worker_from_the_call() -> None:
    parsed = parse({"type": "log", "task": TASK, "msg": "hello"})
    assert parsed.logs == {Owner(TASK): [LogRow(TASK, NOW, NOW, "", "host", "hello")]}
    assert not parsed.errors


def test_what_the_event_says_itself_wins() -> None:
    parsed = parse({"type": "log", "task": TASK, "msg": "a\nb", "timestamp": 5, "worker": "w", "level": "INFO"})
    assert parsed.logs[Owner(TASK)] == [LogRow(TASK, 5, NOW, "INFO", "w", "a\nb")]


def test_scalar() -> None:
    event = {"type": "training_stats_scalar", "task": TASK, "metric": "loss", "variant": "train", "iter": 3, "value": 1}
    assert parse(event).points[Owner(TASK)] == [
        PointRow(TASK, "training_stats_scalar", "loss", "train", 3, "", NOW, NOW, "host", 1.0)
    ]


def test_spaces_in_the_type_are_underscores() -> None:
    assert parse({"type": "training stats scalar", "task": TASK, "value": 1}).points


def test_fields_without_a_column_are_kept() -> None:
    (row,) = parse({"type": "plot", "task": TASK, "plot_str": "{}", "é": 1, "method": "get"}).points[Owner(TASK)]
    assert json.loads(row.extra or "") == {"plot_str": "{}", "é": 1}


def test_owners_are_told_apart() -> None:
    scalar = {"type": "training_stats_scalar", "task": TASK, "value": 1}
    parsed = parse(scalar, {**scalar, "model_event": True}, {**scalar, "allow_locked": True})
    assert parsed.owners == [Owner(TASK), Owner(TASK, is_model=True), Owner(TASK, even_locked=True)]


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (5, "Event is not an object"),
        ({"task": TASK}, "Event must have a 'type' field"),
        ({"type": 7, "task": TASK}, "Event must have a 'type' field"),
        ({"type": "nonsense", "task": TASK}, "Invalid event type nonsense"),
        ({"type": "log", "msg": "x"}, "Event must have a 'task' field"),
        ({"type": "log", "task": TASK, "model_event": True}, "Log events are not supported for models"),
        ({"type": "log", "task": TASK, "timestamp": "soon"}, "Event field 'timestamp' is not a number"),
        ({"type": "log", "task": TASK, "timestamp": 1e40}, "Event field 'timestamp' is out of range"),
        ({"type": "plot", "task": TASK, "iter": []}, "Event field 'iter' is not a number"),
        ({"type": "training_stats_scalar", "task": TASK}, "Scalar event must have a numeric 'value' field"),
        (
            {"type": "training_stats_scalar", "task": TASK, "value": "1"},
            "Scalar event must have a numeric 'value' field",
        ),
        ({"type": "training_stats_scalar", "task": TASK, "value": float("nan")}, "Scalar value is not finite"),
        ({"type": "training_stats_scalar", "task": TASK, "value": 10**400}, "Scalar value is not finite"),
    ],
)
def test_a_bad_event_is_counted_and_the_batch_goes_on(event: object, why: str) -> None:
    parsed = parse(event, {"type": "log", "task": TASK, "msg": "x"}, event)
    assert parsed.errors == {why: 2}
    assert len(parsed.logs[Owner(TASK)]) == 1


def test_a_line_that_is_no_json_is_counted() -> None:
    parsed = parse_lines([b"{", b"\xff", b'{"type": "log", "task": "t", "msg": "x"}'], worker="", now=NOW)
    assert parsed.errors == {"Invalid JSON": 2}
    assert parsed.logs


def test_lines_that_are_json_only_together_are_counted() -> None:
    parsed = parse_lines([b'{"type": "log", "task": "t"', b'"msg": "x"}', b"{},{}", b"[" * 100_000], worker="", now=NOW)
    assert parsed.errors == {"Invalid JSON": 4}


def test_lone_surrogates_do_not_reach_the_database() -> None:
    parsed = parse_lines([b'{"type": "log", "task": "t", "msg": "a\\ud800b", "x": "\\udfff"}'], worker="", now=NOW)
    (row,) = parsed.logs[Owner("t")]
    assert row.msg == "a?b"
    assert row.extra == '{"x": "?"}'


def test_refusing_an_owner_counts_its_rows() -> None:
    parsed = parse(
        {"type": "log", "task": "a", "msg": "x"}, {"type": "plot", "task": "a"}, {"type": "plot", "task": "b"}
    )
    parsed.refuse(Owner("a"), "gone")
    assert parsed.errors == {"gone": 2}
    assert parsed.owners == [Owner("b")]


texts = st.text(st.sampled_from('aZ0 é漢\U0001f600\ud800\udfff\x00\n"\\'), max_size=8)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(["task", "type", "timestamp", "iter", "metric", "variant", "key", "value", "msg", "level", "x"])


@given(event=st.dictionaries(names, json_values), kind=st.sampled_from(["log", "plot", "training_stats_scalar"]))
def test_any_event_is_taken_or_counted(event: dict[str, Any], kind: str) -> None:
    parsed = Parsed()
    add_event(parsed, {"task": "t", "value": 1, **event, "type": kind}, worker="", now=NOW)
    rows: list[tuple[Any, ...]] = [
        row for kept in (parsed.logs, parsed.points) for rows in kept.values() for row in rows
    ]
    assert len(rows) + parsed.errors.total() == 1
    for row in rows:
        for value in row:
            if isinstance(value, str):
                value.encode()
            assert not isinstance(value, int) or -(2**63) <= value < 2**63
