"""Making, editing and copying tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest


def new_task(server: Any, **fields: Any) -> str:
    return str(server.call("tasks.create", **{"name": "some task", "type": "training", **fields})["id"])


def get(server: Any, task: str) -> dict[str, Any]:
    found: dict[str, Any] = server.call("tasks.get_by_id", task=task)["task"]
    return found


def test_a_new_task_has_the_fields_that_clients_expect(shared_server: Any) -> None:
    project = shared_server.call("projects.create", name="new task/fields")["id"]
    task = get(shared_server, new_task(shared_server, project=project, system_tags=["development"]))
    assert len(task["id"]) == 32
    assert int(task["id"], 16)
    user = shared_server.call("users.get_current_user")["user"]
    moment = task.pop("created")
    assert moment.endswith("000+00:00")
    assert task == {
        "id": task["id"],
        "name": "some task",
        "type": "training",
        "status": "created",
        "comment": "",
        "project": project,
        "user": user["id"],
        "company": user["company"]["id"],
        "last_update": moment,
        "last_change": moment,
        "last_changed_by": user["id"],
        "report_assets": [],
        "output": {},
        "execution": {"test_split": 0, "parameters": {}, "model_desc": {}, "model_labels": {}, "artifacts": []},
        "tags": [],
        "system_tags": ["development"],
        "script": {"binary": "python", "repository": "", "entry_point": "", "requirements": {}},
        "last_iteration": 0,
        "last_metrics": {},
        "unique_metrics": [],
        "metric_stats": {},
        "hyperparams": {},
        "configuration": {},
        "runtime": {},
        "models": {"input": [], "output": []},
        "container": {},
    }


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        ({"name": "ab"}, (400, 800)),
        ({"name": ""}, (400, 12)),
        ({"name": None}, (400, 12)),
        ({"type": "nonsense"}, (400, 12)),
        ({"type": ""}, (400, 12)),
        ({"name": ["x"]}, (400, 12)),
        ({"tags": 5}, (400, 12)),
        ({"script": "x"}, (400, 12)),
        ({"hyperparams": {"Args": 5}}, (400, 12)),
        ({"hyperparams": {"Args": {"a": 5}}}, (400, 12)),
        ({"configuration": {"a": 5}}, (400, 12)),
        ({"execution": {"artifacts": [{"key": "x"}]}}, (400, 12)),
        ({"models": {"input": [{"name": "x"}]}}, (400, 12)),
        ({"models": {"input": [{"name": "x", "model": "nosuch"}]}}, (400, 201)),
        ({"project": "nosuch"}, (400, 401)),
        ({"parent": "nosuch"}, (400, 101)),
    ],
)
def test_what_cannot_be_made(shared_server: Any, fields: dict[str, Any], answer: tuple[int, int]) -> None:
    body = {"name": "some task", "type": "training", **fields}
    assert shared_server.failure("tasks.create", **body) == answer
    assert shared_server.failure("tasks.validate", **body) == answer


def test_nulls_count_as_absent(shared_server: Any) -> None:
    task = new_task(shared_server, project=None, tags=None, script=None, hyperparams=None, parent="")
    assert "parent" not in get(shared_server, task)


def test_edit_merges_script_and_execution_and_replaces_the_rest(shared_server: Any) -> None:
    call, task = shared_server.call, new_task(shared_server)
    call("tasks.set_requirements", task=task, requirements={"pip": "a\nb"})
    call("tasks.edit", task=task, script={"repository": "r", "diff": "d"}, runtime={"a": "1", "b": "2"})
    call("tasks.edit", task=task, hyperparams={"Args": {"x": {"value": 1}}, "General": {"y": {"value": True}}})
    data = call(
        "tasks.edit", task=task, script={"entry_point": "e.py"}, runtime={"c": "3"}, execution={"framework": "f"}
    )
    assert data["updated"] == 1
    found = get(shared_server, task)
    expected = {
        "repository": "r",
        "diff": "d",
        "entry_point": "e.py",
        "binary": "python",
        "requirements": {"pip": "a\nb"},
    }
    assert found["script"] == data["fields"]["script"] == expected
    assert found["runtime"] == {"c": "3"}
    assert found["execution"]["framework"] == "f"
    assert found["execution"]["artifacts"] == []
    assert found["hyperparams"]["Args"]["x"] == {"section": "Args", "name": "x", "value": "1"}
    call("tasks.edit", task=task, hyperparams={"New": {}})
    assert get(shared_server, task)["hyperparams"] == {"New": {}}
    call("tasks.edit", task=task, output_dest="http://h")
    assert get(shared_server, task)["output"] == {"destination": "http://h"}
    assert call("tasks.edit", task=task, method="get", unknown=5) == {"updated": 0, "fields": {}}


def test_labels_do_not_count_as_progress(shared_server: Any) -> None:
    call, task = shared_server.call, new_task(shared_server)
    before = get(shared_server, task)["last_update"]
    assert "last_update" not in call("tasks.edit", task=task, tags=["a", "b", "a"])["fields"]
    after = get(shared_server, task)
    assert (after["tags"], after["last_update"]) == (["a", "b"], before)
    assert after["last_change"] >= before
    call("tasks.ping", task=task)
    assert get(shared_server, task)["last_update"] > before


def test_names_with_dots_dollars_and_unicode_survive(shared_server: Any) -> None:
    params = {"a.b": {"c.d": {"value": "1"}, "$x": {"value": "2"}, "ü": {"value": "\u2028"}, "": {"value": ""}}}
    task = new_task(shared_server, hyperparams=params, runtime={"x.y": "z", "$a": {"b.c": 1}})
    found = get(shared_server, task)
    assert {name: item["value"] for name, item in found["hyperparams"]["a.b"].items()} == {
        "c.d": "1",
        "$x": "2",
        "ü": "\u2028",
        "": "",
    }
    assert found["runtime"] == {"x.y": "z", "$a": {"b.c": 1}}


def test_large_sections(shared_server: Any) -> None:
    diff = "x" * 3_000_000
    task = new_task(shared_server, script={"diff": diff})
    assert get(shared_server, task)["script"]["diff"] == diff


def test_update_works_in_any_status(shared_server: Any) -> None:
    call, task = shared_server.call, new_task(shared_server)
    for step in ("started", "stopped", "publish"):
        call(f"tasks.{step}", task=task)
    data = call("tasks.update", task=task, name="renamed", output__error="broke", created="2020-01-02T03:04:05Z")
    assert data["updated"] == 1
    found = get(shared_server, task)
    assert (found["name"], found["output"]["error"]) == ("renamed", "broke")
    assert found["created"] == "2020-01-02T03:04:05.000000+00:00"
    assert call("tasks.update", task=task) == {"updated": 0, "fields": {}}
    lines = "\n".join(json.dumps({"task": task, "comment": text}) for text in ("one", "two")).encode()
    headers = {"Content-Type": "application/json-lines"}
    answer = shared_server.http.post(f"{shared_server.api_url}/tasks.update_batch", data=lines, headers=headers)
    assert answer.json()["data"] == {"updated": 2}
    assert get(shared_server, task)["comment"] == "two"
    assert shared_server.failure("tasks.update_batch") == (400, 17)


def test_single_parameters(shared_server: Any) -> None:
    call, task = shared_server.call, new_task(shared_server)

    def edit(replace: str, *items: tuple[str, str, str]) -> dict[str, dict[str, str]]:
        params = [{"section": section, "name": name, "value": value} for section, name, value in items]
        call("tasks.edit_hyper_params", task=task, hyperparams=params, replace_hyperparams=replace)
        sections = get(shared_server, task)["hyperparams"]
        return {section: {name: item["value"] for name, item in sections[section].items()} for section in sections}

    assert edit("none", ("A", "x", "1"), ("B", "y", "2")) == {"A": {"x": "1"}, "B": {"y": "2"}}
    assert edit("none", ("A", "z", "3")) == {"A": {"x": "1", "z": "3"}, "B": {"y": "2"}}
    assert edit("section", ("A", "w", "4")) == {"A": {"w": "4"}, "B": {"y": "2"}}
    assert edit("all", ("C", "v", "5")) == {"C": {"v": "5"}}
    call("tasks.edit_hyper_params", task=task, hyperparams=[{"section": "C", "name": "u", "value": "6"}])
    listed = call("tasks.get_hyper_params", tasks=[task])["params"]
    assert [(item["name"], item["value"]) for item in listed[0]["hyperparams"]] == [("u", "6"), ("v", "5")]
    call("tasks.delete_hyper_params", task=task, hyperparams=[{"section": "C", "name": "v"}])
    assert list(get(shared_server, task)["hyperparams"]["C"]) == ["u"]
    call("tasks.delete_hyper_params", task=task, hyperparams=[{"section": "C"}])
    assert get(shared_server, task)["hyperparams"] == {}


def test_parameters_of_a_running_task_are_fixed_but_its_properties_are_not(shared_server: Any) -> None:
    task = new_task(shared_server)
    shared_server.call("tasks.started", task=task)
    item = {"section": "Args", "name": "x", "value": "1"}
    assert shared_server.failure("tasks.edit_hyper_params", task=task, hyperparams=[item]) == (400, 110)
    shared_server.call("tasks.edit_hyper_params", task=task, hyperparams=[item], force=True)
    note = {"section": "properties", "name": "owner", "value": "me"}
    shared_server.call("tasks.edit_hyper_params", task=task, hyperparams=[note])
    assert get(shared_server, task)["hyperparams"]["properties"]["owner"]["value"] == "me"


def test_configuration_objects_and_runtime(shared_server: Any) -> None:
    call, task = shared_server.call, new_task(shared_server)
    items = [{"name": "a", "value": "1"}, {"name": "b", "value": ""}]
    call("tasks.edit_configuration", task=task, configuration=items)
    assert call("tasks.get_configuration_names", tasks=[task])["configurations"][0]["names"] == ["a"]
    names = call("tasks.get_configuration_names", tasks=[task], skip_empty=False)["configurations"][0]["names"]
    assert names == ["a", "b"]
    found = call("tasks.get_configurations", tasks=[task], names=["a"])["configurations"][0]["configuration"]
    assert found == [{"name": "a", "value": "1"}]
    call("tasks.delete_configuration", task=task, configuration=["a"])
    call("tasks.edit_configuration", task=task, configuration=[{"name": "c", "value": "3"}], replace_configuration=True)
    assert list(get(shared_server, task)["configuration"]) == ["c"]
    call("tasks.edit_runtime", task=task, add_or_update={"a": "1", "b.c": "2"})
    call("tasks.edit_runtime", task=task, add_or_update={"d": "3"}, remove=["a"])
    assert get(shared_server, task)["runtime"] == {"b.c": "2", "d": "3"}


def test_artifacts_and_models(shared_server: Any) -> None:
    call, task = shared_server.call, new_task(shared_server)
    for content in ("1", "2"):
        artifacts = [{"key": "a", "type": "x", "hash": content}, {"key": "a", "type": "x", "mode": "input"}]
        assert call("tasks.add_or_update_artifacts", task=task, artifacts=artifacts)["updated"] == 1
    found = get(shared_server, task)["execution"]["artifacts"]
    assert [(item["key"], item["mode"], item.get("hash")) for item in found] == [
        ("a", "output", "2"),
        ("a", "input", None),
    ]
    assert call("tasks.delete_artifacts", task=task, artifacts=[{"key": "a"}])["deleted"] == 1
    assert [item["mode"] for item in get(shared_server, task)["execution"]["artifacts"]] == ["input"]
    model = call("models.create", name="m", uri="http://h/m")["id"]
    for _ in range(2):
        call("tasks.add_or_update_model", task=task, name="n", model=model, type="output", iteration=7)
    found = get(shared_server, task)
    assert [(item["name"], item["model"]) for item in found["models"]["output"]] == [("n", model)]
    assert found["last_iteration"] == 7
    call("tasks.delete_models", task=task, models=[{"name": "n", "type": "output"}])
    assert get(shared_server, task)["models"]["output"] == []
    bad = {"task": task, "name": "n", "model": "nosuch"}
    assert shared_server.failure("tasks.add_or_update_model", **bad, type="output") == (400, 201)
    assert shared_server.failure("tasks.add_or_update_model", **bad, type="x") == (400, 12)


def test_clone(shared_server: Any) -> None:
    call = shared_server.call
    source = new_task(
        shared_server,
        script={"repository": "r", "diff": "d"},
        hyperparams={"Args": {"x": {"value": "1"}}},
        configuration={"c": {"value": "v"}},
        container={"image": "i"},
        tags=["t"],
        system_tags=["development", "pipeline"],
        output_dest="http://h",
    )
    call("tasks.edit", task=source, runtime={"a": "b"})
    call("tasks.add_or_update_artifacts", task=source, artifacts=[{"key": "a", "type": "x"}])
    call("tasks.enqueue", task=source)
    call("tasks.started", task=source)
    data = call(
        "tasks.clone", task=source, new_task_name="the copy", new_task_parent=source, new_project_name="copies/all"
    )
    copy, original = get(shared_server, data["id"]), get(shared_server, source)
    for name in ("script", "hyperparams", "configuration", "container", "tags", "type", "output"):
        assert copy[name] == original[name], name
    assert (copy["name"], copy["status"], copy["parent"]) == ("the copy", "created", source)
    assert copy["project"] == data["new_project"]["id"]
    assert copy["system_tags"] == ["pipeline"]
    assert (copy["runtime"], copy["execution"]["artifacts"]) == ({}, [])
    assert {"started", "last_worker"}.isdisjoint(copy)
    assert "queue" not in copy["execution"]
    changed = call("tasks.clone", task=source, new_task_hyperparams={"Args": {"y": {"value": "2"}}}, new_task_tags=[])
    assert list(get(shared_server, changed["id"])["hyperparams"]["Args"]) == ["y"]
    assert get(shared_server, changed["id"])["tags"] == []
    assert shared_server.failure("tasks.clone", task="nosuch") == (400, 101)


def test_move_and_tags(shared_server: Any) -> None:
    call, tasks = shared_server.call, [new_task(shared_server) for _ in range(2)]
    project = call("tasks.move", ids=tasks, project_name="moved/here")["project_id"]
    assert [get(shared_server, task)["project"] for task in tasks] == [project, project]
    assert shared_server.failure("tasks.move", ids=tasks) == (400, 12)
    assert call("tasks.update_tags", ids=tasks, add_tags=["a", "b"], remove_tags=["b"])["updated"] == 2
    assert get(shared_server, tasks[0])["tags"] == ["a"]
    assert "training" in call("tasks.get_types")["types"]
    assert call("tasks.get_types", projects=[project])["types"] == ["training"]
