"""Choosing the version of an endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from clearml_agent_clone.server.registry import ApiFault, Call, Registry, Request, parse_version


def handler(_call: Call, _body: dict[str, Any]) -> dict[str, Any]:
    return {}


async def waiting(_request: Request, _body: dict[str, Any]) -> dict[str, Any]:
    return {}


@pytest.fixture
def registry() -> Registry:
    made = Registry()
    made.endpoint("a.b", since="2.9")(handler)
    made.endpoint("a.b", since="2.14", writes=True)(handler)
    made.endpoint("a.b", since="2.4", auth=False)(waiting)
    return made


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ("2.4", "2.4"),
        ("2.8", "2.4"),
        ("2.9", "2.9"),
        ("2.13", "2.9"),
        ("2.14", "2.14"),
        ("2.34", "2.14"),
        ("999.0", "2.14"),
    ],
)
def test_the_newest_version_not_above_the_requested_one(registry: Registry, asked: str, chosen: str) -> None:
    assert registry.find("a.b", parse_version(asked)).since == parse_version(chosen)


@pytest.mark.parametrize(("name", "asked"), [("a.b", "2.3"), ("a.b", "1.99"), ("a.c", "2.14"), ("", "2.14")])
def test_unknown(registry: Registry, name: str, asked: str) -> None:
    with pytest.raises(ApiFault) as caught:
        registry.find(name, parse_version(asked))
    assert (caught.value.code, caught.value.subcode) == (404, 0)
    assert caught.value.msg == f"Unable to find endpoint for name {name} and version {asked}"


def test_kinds(registry: Registry) -> None:
    old, middle, new = (registry.find("a.b", parse_version(version)) for version in ("2.4", "2.9", "2.14"))
    assert (old.is_async, middle.is_async) == (True, False)
    assert (old.auth, middle.auth) == (False, True)
    assert (middle.writes, new.writes) == (False, True)
    assert registry.names() == {"a.b": ((2, 14), (2, 9), (2, 4))}


def test_a_version_is_registered_once(registry: Registry) -> None:
    with pytest.raises(ValueError, match="twice"):
        registry.endpoint("a.b", since="2.9")(handler)


@pytest.mark.parametrize("text", ["2", "2.x", "", "2.1.3"])
def test_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_version(text)
