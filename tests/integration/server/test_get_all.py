"""Filters, order, pages and projections over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests

from clearml_agent_clone.server.embedded import running_server


@attrs.define
class Shelf:
    """A server with a few tasks; ``find`` gives the names that match."""

    server: Any
    ids: dict[str, str]
    projects: dict[str, str]

    def call(self, endpoint: str, **body: Any) -> tuple[int, int, Any]:
        auth = (self.server.access_key, self.server.secret_key)
        answer = requests.post(f"{self.server.api_url}/{endpoint}", json=body, auth=auth, timeout=30).json()
        return answer["meta"]["result_code"], answer["meta"]["result_subcode"], answer["data"]

    def find(self, **body: Any) -> list[str]:
        code, subcode, data = self.call("tasks.get_all", **body)
        assert (code, subcode) == (200, 0)
        return ["".join(task["name"].split("-")[1:]) for task in data["tasks"]]

    def failure(self, **body: Any) -> tuple[int, int]:
        code, subcode, _ = self.call("tasks.get_all", **body)
        return code, subcode


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    with running_server(Path(tmp_path_factory.mktemp("shelf"))) as server:
        found = Shelf(server, {}, {})
        for name in ("top", "top/inner", "other"):
            found.projects[name] = found.call("projects.create", name=name)[2]["id"]
        rows: list[tuple[str, str, list[str], str]] = [
            ("a", "top", ["x"], "training"),
            ("b", "top/inner", ["x", "y"], "testing"),
            ("c", "other", ["y", "z"], "training"),
            ("d", "other", [], "controller"),
        ]
        for name, project, tags, kind in rows:
            body: dict[str, Any] = {
                "name": f"task-{name}",
                "project": found.projects[project],
                "tags": tags,
                "type": kind,
            }
            body["hyperparams"] = {"Args": {"lr": {"value": name}}}
            found.ids[name] = found.call("tasks.create", **body)[2]["id"]
        found.call("tasks.create", name="task-h", type="training", system_tags=["hidden"])
        found.call(
            "tasks.edit", task=found.ids["b"], parent=found.ids["a"], comment="Some words", runtime={"k": "hash1"}
        )
        found.call("tasks.started", task=found.ids["c"])
        for hit in range(3):
            found.call("tasks.ping", task=found.ids["c"], hit=hit)
        yield found


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ({}, "abcd"),
        ({"search_hidden": True}, "abcdh"),
        ({"name": "^task-[ab]$"}, "ab"),
        ({"name": "TASK"}, ""),
        ({"type": ["training"]}, "ac"),
        ({"type": ["-training"]}, "bd"),
        ({"type": "testing"}, "b"),
        ({"status": ["in_progress", "queued"]}, "c"),
        ({"status": ["-in_progress"]}, "abd"),
        ({"tags": ["x"]}, "ab"),
        ({"tags": ["x", "z"]}, "abc"),
        ({"tags": ["x", "-y"]}, "a"),
        ({"tags": ["-x"]}, "cd"),
        ({"tags": ["__$not", "x"]}, "cd"),
        ({"tags": ["__$all", "x", "y"]}, "b"),
        ({"tags": ["__$and", "y", "__$not", "x"]}, "c"),
        ({"tags": ["__$or", "z", "__$not", "y"]}, "acd"),
        ({"tags": ["__$all", "y", "__$or", "x", "z"]}, "bc"),
        ({"tags": ["__$any", "x", "__$all", "y"]}, "b"),
        ({"tags": []}, "abcd"),
        ({"tags": None}, "abcd"),
        ({"parent": [None]}, "acd"),
        ({"hyperparams.Args.lr.value": ["b", "c"]}, "bc"),
        ({"runtime.k": ["hash1"]}, "b"),
        ({"_all_": {"fields": ["runtime.k"], "pattern": "^hash1$"}}, "b"),
        ({"_any_": {"fields": ["name", "comment"], "pattern": "WORDS|task-d"}}, "bd"),
        ({"_all_": {"fields": ["name", "comment"], "pattern": "o|b"}}, "b"),
        ({"_any_": {"fields": ["tags"], "pattern": "^z$"}}, "c"),
        ({"search_text": "words nothing"}, "b"),
        ({"started": [">=2000-01-01"]}, "c"),
        ({"started": ["2000-01-01", None]}, "c"),
        ({"started": ["2000-01-01", "2001-01-01"]}, ""),
        ({"started": ["<2000-01-01T00:00:00"]}, ""),
        ({"created": [">=2000-01-01", "<2999-01-01"]}, "abcd"),
        ({"created": [">=946684800"]}, "abcd"),
        ({"last_iteration": [0, 0]}, "abcd"),
        ({"last_iteration": [">=1"]}, ""),
        ({"filters": {"tags": {"any": {"include": ["x", "z"]}}}}, "abc"),
        ({"filters": {"tags": {"all": {"include": ["x", "y"]}}}}, "b"),
        (
            {"filters": {"tags": {"any": {"include": ["z"]}, "all": {"include": ["x"], "exclude": ["y"]}, "op": "or"}}},
            "ac",
        ),
        ({"order_by": ["-name"]}, "dcba"),
        ({"order_by": ["type", "-name"]}, "dbca"),
        ({"order_by": "-hyperparams.Args.lr.value"}, "dcba"),
        ({"page": 0, "page_size": 3, "order_by": ["name"]}, "abc"),
        ({"page": 1, "page_size": 3, "order_by": ["name"]}, "d"),
        ({"page": 2, "page_size": 3}, ""),
        ({"method": "get", "unknown": [1]}, "abcd"),
    ],
    ids=str,
)
def test_filters(shelf: Shelf, body: dict[str, Any], names: str) -> None:
    found = shelf.find(**body)
    assert (found if "order_by" in body else sorted(found)) == list(names)


def test_projects(shelf: Shelf) -> None:
    top = [shelf.projects["top"]]
    assert shelf.find(project=top) == ["a"]
    assert shelf.find(project=top, include_subprojects=True) == ["a", "b"]
    assert shelf.find(project=[f"-{top[0]}"]) == ["b", "c", "d"]


def test_ids(shelf: Shelf) -> None:
    assert shelf.find(id=[shelf.ids["d"], shelf.ids["a"], "nosuch"]) == ["a", "d"]
    assert shelf.find(id=["nosuch"]) == []
    assert shelf.find(id=[f"x{number}" for number in range(40_000)]) == []
    assert shelf.find(parent=shelf.ids["a"]) == ["b"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"only_fields": ["nosuch"]}, (400, 14)),
        ({"only_fields": ["nosuch.deep"]}, (400, 14)),
        ({"order_by": ["nosuch"]}, (400, 14)),
        ({"_any_": {"fields": ["nosuch"], "pattern": "x"}}, (400, 14)),
        ({"_any_": {"fields": ["name"]}}, (400, 12)),
        ({"filters": {"nosuch": {"any": {"include": ["x"]}}}}, (400, 14)),
        ({"name": "("}, (400, 12)),
        ({"name": "x" * 10_000}, (400, 12)),
        ({"created": [">=yesterday"]}, (400, 12)),
        ({"page": -1}, (400, 12)),
        ({"page_size": 0}, (400, 12)),
        ({"scroll_id": "nosuch"}, (400, 1104)),
        ({"size": 0}, (400, 12)),
        ({'hyperparams.a"b': ["x"]}, (400, 14)),
        ({"hyperparams..x": ["x"]}, (400, 14)),
    ],
    ids=str,
)
def test_refused(shelf: Shelf, body: dict[str, Any], answer: tuple[int, int]) -> None:
    assert shelf.failure(**body) == answer


def test_no_field_name_is_sql(shelf: Shelf) -> None:
    for name in ("hyperparams.'", "runtime.') OR 1=1 --", "runtime.x' OR '1'='1"):
        assert shelf.find(**{name: ["x"]}) == []


def test_projection(shelf: Shelf) -> None:
    def fields(*names: str) -> Any:
        return shelf.call("tasks.get_all", id=[shelf.ids["b"]], only_fields=list(names))[2]["tasks"][0]

    assert fields("status") == {"status": "created"}
    assert fields("id", "hyperparams.Args", "runtime.k", "runtime.nosuch", "started") == {
        "id": shelf.ids["b"],
        "hyperparams": {"Args": {"lr": {"section": "Args", "name": "lr", "value": "b"}}},
        "runtime": {"k": "hash1"},
    }
    without = fields("-hyperparams", "-script.requirements", "-runtime")
    assert {"hyperparams", "runtime"}.isdisjoint(without)
    assert "requirements" not in without["script"]
    assert without["name"] == "task-b"


def test_expanded_references(shelf: Shelf) -> None:
    body = {"id": [shelf.ids["b"]], "only_fields": ["name", "project.name", "parent.name", "user.name", "company"]}
    task = shelf.call("tasks.get_all_ex", **body)[2]["tasks"][0]
    user = shelf.call("users.get_current_user")[2]["user"]
    assert task == {
        "id": shelf.ids["b"],
        "name": "task-b",
        "project": {"id": shelf.projects["top/inner"], "name": "top/inner"},
        "parent": {"id": shelf.ids["a"], "name": "task-a"},
        "user": {"id": user["id"], "name": user["name"]},
        "company": {"id": user["company"]["id"]},
    }
    whole = shelf.call("tasks.get_by_id_ex", id=[shelf.ids["b"]])[2]["tasks"][0]
    assert whole["project"] == {"id": shelf.projects["top/inner"]}
    assert whole["script"]["binary"] == "python"


def test_scrolling(shelf: Shelf) -> None:
    body: dict[str, Any] = {"size": 3, "only_fields": ["name"], "scroll_id": None}
    pages = []
    for _ in range(3):
        data = shelf.call("tasks.get_all", **body)[2]
        body["scroll_id"] = data["scroll_id"]
        pages.append([task["name"] for task in data["tasks"]])
    assert pages == [["task-a", "task-b", "task-c"], ["task-d"], []]
    again = shelf.call("tasks.get_all", **body, refresh_scroll=True)[2]
    assert len(again["tasks"]) == 3


def test_never_more_than_500_on_a_page(server: Any) -> None:
    names = [f"task {number:03}" for number in range(501)]
    lines = [server.call("tasks.create", name=name, type="training")["id"] for name in names]
    assert [task["id"] for task in server.call("tasks.get_all", only_fields=["id"])["tasks"]] == lines[:500]
    assert len(server.call("tasks.get_all", page_size=9999, page=0)["tasks"]) == 500
    last = server.call("tasks.get_all", page=1, page_size=500, only_fields=["id"])["tasks"]
    assert last == [{"id": lines[500]}]
