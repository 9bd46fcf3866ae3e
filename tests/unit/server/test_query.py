"""The filter language, against a model of it in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clearml_agent_clone.server import query
from clearml_agent_clone.server.db import Database
from clearml_agent_clone.server.documents import TASKS
from clearml_agent_clone.server.faults import ApiFault

TAGS = ("a", "b", "c")
OPERATORS = ("__$or", "__$any", "__$and", "__$all", "__$not")
SUBSETS = [[tag for bit, tag in enumerate(TAGS) if number >> bit & 1] for number in range(8)]


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    made = Database(Path(tmp_path_factory.mktemp("query")) / "x.db", synchronous="OFF")
    with made.write() as connection:
        for number, tags in enumerate(SUBSETS):
            document: dict[str, Any] = {"id": str(number), "name": f"task {number}", "tags": tags}
            if tags:
                document["parent"] = tags[0]
                document["runtime"] = {tags[0]: len(tags)}
            TASKS.insert(connection, document)
    yield made
    made.close()


def select(db: Database, where: query.Where) -> list[int]:
    with db.read() as connection:
        return sorted(int(task["id"]) for task in TASKS.select(connection, where.clause, where.params))


def expected(values: list[str], tags: list[str]) -> bool:
    """The rules as they are told: groups joined by AND, NOT for the next value, exclusions of a plain list by AND."""
    groups: list[tuple[str, list[tuple[str, bool]]]] = [("", [])]
    negated = False
    for value in values:
        if value == "__$not":
            negated = not negated
        elif value in OPERATORS:
            groups.append(("or" if value in ("__$or", "__$any") else "and", []))
        else:
            flip = value.startswith("-")
            groups[-1][1].append((value.removeprefix("-"), negated ^ flip))
            negated = False
    outcome = True
    for operator, terms in groups:
        if not terms:
            continue
        hits = [(value in tags) != barred for value, barred in terms]
        if operator == "":
            wanted = [hit for hit, (_, barred) in zip(hits, terms, strict=True) if not barred]
            avoided = [hit for hit, (_, barred) in zip(hits, terms, strict=True) if barred]
            outcome = outcome and (not wanted or any(wanted)) and all(avoided)
        else:
            outcome = outcome and (any(hits) if operator == "or" else all(hits))
    return outcome


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.sampled_from([*TAGS, *(f"-{tag}" for tag in TAGS), *OPERATORS]), min_size=1, max_size=7))
def test_list_filters(db: Database, values: list[str]) -> None:
    found = select(db, query.matching(TASKS, "tags", values))
    assert found == [number for number, tags in enumerate(SUBSETS) if expected(values, tags)]


@pytest.mark.parametrize(
    ("name", "value", "numbers"),
    [
        ("parent", "a", [1, 3, 5, 7]),
        ("parent", ["a", None], [0, 1, 3, 5, 7]),
        ("parent", ["-a"], [0, 2, 4, 6]),
        ("runtime.a", [1, 3], [1, 7]),
        ("runtime.nosuch", ["x"], []),
        ("name", "task [12]$", [1, 2]),
        ("tags", {"any": {"include": ["a"], "exclude": ["b"]}}, [0, 1, 3, 4, 5, 7]),
        ("tags", {"all": {"include": ["a", "b"], "exclude": ["c"]}}, [3]),
        ("tags", {}, list(range(8))),
        ("id", ["3", "4", "nosuch"], [3, 4]),
    ],
)
def test_other_filters(db: Database, name: str, value: Any, numbers: list[int]) -> None:
    assert select(db, query.matching(TASKS, name, value)) == numbers


@pytest.mark.parametrize("name", ["nosuch", "", ".", "tags.", 'runtime."', "runtime.\x00", "id; DROP TABLE tasks"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(ApiFault) as caught:
        query.source(TASKS, name)
    assert caught.value.subcode == 14


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inner=st.text(min_size=1, max_size=20))
def test_any_name_inside_a_field_is_safe(db: Database, inner: str) -> None:
    try:
        where = query.matching(TASKS, f"runtime.{inner}", ["x"])
    except ApiFault:
        return
    assert select(db, where) == []


@pytest.mark.parametrize("value", ["x>5", ">", ">=soon", "", "1e999", "nan"])
def test_bad_limits(db: Database, value: str) -> None:
    with pytest.raises(ApiFault) as caught:
        select(db, query.matching(TASKS, "created", [value]))
    assert caught.value.subcode == 12
