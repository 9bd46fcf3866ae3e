"""Arguments, fields, projections, envelope."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from typing import Any

import pytest

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.arguments import parse_arguments
from clearml_agent_clone.server.documents import TASKS
from clearml_agent_clone.server.envelope import Meta
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.metadata import metadata
from clearml_agent_clone.server.projection import parse_projection


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("", {}),
        ("a=1&b=-2&c=1.5&d=true&e=FALSE&f=", {"a": 1, "b": -2, "c": 1.5, "d": True, "e": False, "f": ""}),
        ("a.b=1&a.c=2", {"a": {"b": 1, "c": 2}}),
        ("a[]=1", {"a": [1]}),
        ("a=1&a=x", {"a": [1, "x"]}),
        ("a=1&a.b=2", {"a": {"b": 2}}),
        ("a=%C3%BC+b", {"a": "ü b"}),
        ("a=00012345678901234567890", {"a": "00012345678901234567890"}),
        ("a=1e5&b=0x1&c=nan", {"a": "1e5", "b": "0x1", "c": "nan"}),
    ],
)
def test_arguments(query: str, body: dict[str, Any]) -> None:
    assert parse_arguments(query) == body


@pytest.mark.parametrize(
    ("reader", "good", "bad"),
    [
        (fields.text, [("x", "x"), (5, "5"), (None, ""), (1.5, "1.5")], [True, [], {}]),
        (fields.flag, [(True, True), (0, False), (None, False)], ["true", 2, []]),
        (fields.integer, [(5, 5), ("5", 5), (5.0, 5), (None, 0)], ["x", True, [], float("inf"), float("nan")]),
        (fields.number, [(1.5, 1.5), ("2", 2.0), (None, 0.0)], ["x", False, {}]),
        (fields.texts, [(["a", 1, None], ["a", "1"]), ("a", ["a"]), (None, [])], [5, {}, [[]], [{}]]),
        (fields.items, [([{}], [{}]), (None, [])], [{}, "x", ["x"]]),
        (fields.mapping, [({"a": 1}, {"a": 1}), (None, {})], [[], "x", 5]),
        (fields.required, [("x", "x"), (0, "0")], [None, "", []]),
    ],
)
def test_fields(reader: Any, good: list[Any], bad: list[Any]) -> None:
    for value, expected in good:
        assert reader({"f": value}, "f") == expected
    for value in bad:
        with pytest.raises(ApiFault) as caught:
            reader({"f": value}, "f")
        assert (caught.value.code, caught.value.subcode) == (400, 12)


def test_stamps_have_one_shape_and_sort_as_text() -> None:
    east = dt.timezone(dt.timedelta(hours=5))
    moment = dt.datetime(2030, 1, 2, 3, 4, 5, 678999, tzinfo=east)
    assert fields.stamp(moment) == "2030-01-01T22:04:05.678000+00:00"
    assert fields.stamp(dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)) == "2030-01-01T00:00:00.000000+00:00"
    for text in ("2030-01-02T03:04:05Z", "2030-01-02 03:04:05", "2030-01-02T05:04:05+02:00"):
        parsed = fields.parse_stamp(text)
        assert parsed is not None
        assert fields.stamp(parsed) == "2030-01-02T03:04:05.000000+00:00"
    assert fields.parse_stamp("soon") is None
    assert fields.from_epoch(1e9) == fields.from_epoch(1e12)


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        ([], {"id": "1", "script": {"diff": "d", "tag": "t"}, "models": {"input": [{"name": "n", "model": "m"}]}}),
        (["script.diff", "script.tag"], {"script": {"diff": "d", "tag": "t"}}),
        (["script", "script.diff"], {"script": {"diff": "d", "tag": "t"}}),
        (["script.diff", "script"], {"script": {"diff": "d", "tag": "t"}}),
        (["models.input.model"], {"models": {"input": [{"model": "m"}]}}),
        (["runtime.x", "id"], {"id": "1"}),
        (["script.diff.deeper"], {"script": {}}),
        (["-script.diff", "-models"], {"id": "1", "script": {"tag": "t"}}),
        (["id.x"], {}),
    ],
)
def test_projection(names: list[str], kept: dict[str, Any]) -> None:
    document = {"id": "1", "script": {"diff": "d", "tag": "t"}, "models": {"input": [{"name": "n", "model": "m"}]}}
    found = parse_projection(TASKS, {"only_fields": names}).apply(document)
    assert {name: value for name, value in found.items() if value != {} or name == "script"} == kept


def test_projection_reads_only_the_parts_it_needs() -> None:
    assert parse_projection(TASKS, {"only_fields": ["status"]}).parts(TASKS) == set()
    assert parse_projection(TASKS, {"only_fields": ["script.diff"]}).parts(TASKS) == {"script"}
    assert "script" not in parse_projection(TASKS, {"only_fields": ["-script"]}).parts(TASKS)
    assert parse_projection(TASKS, {}).parts(TASKS) == TASKS.parts


def test_envelope_of_a_fault() -> None:
    meta = Meta(trx="t", name="a.b", requested=(2, 5), actual=(2, 4), packed=True)
    answer = meta.fault(ApiFault(400, 12, "why", {"field": "f"}))
    body = json.loads(bytes(answer.body))
    assert answer.status_code == body["meta"]["result_code"] == 400
    assert body["meta"]["error_data"] == {"field": "f"}
    assert body["data"] == {}
    large = meta.success({"x": "y" * 10_000})
    assert large.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(bytes(large.body)))["data"]["x"] == "y" * 10_000


def test_metadata_from_a_list_or_an_object() -> None:
    item = {"key": "k", "type": "str", "value": "v"}
    assert metadata([item]) == metadata({"k": {"type": "str", "value": "v"}}) == {"k": item}
    wrong: list[Any] = ["x", [1], [{}], {"k": 1}]
    for bad in wrong:
        with pytest.raises(ApiFault):
            metadata(bad)
