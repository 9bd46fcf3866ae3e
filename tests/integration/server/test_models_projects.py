"""models.*, projects.*, users.*, organization.*"""

from __future__ import annotations

from typing import Any


def new_model(server: Any, **fields: Any) -> str:
    return str(server.call("models.create", **{"name": "weights", "uri": "http://h/w", **fields})["id"])


def test_a_new_model(shared_server: Any) -> None:
    call = shared_server.call
    data = call("models.create", name="weights", uri="http://h/new", labels={"cat": 1}, method="get")
    assert data["created"] is True
    model = call("models.get_by_id", model=data["id"])["model"]
    expected = {"name": "weights", "uri": "http://h/new", "labels": {"cat": 1}, "design": {}, "ready": False}
    assert {name: model[name] for name in expected} == expected
    assert (model["metadata"], model["last_metrics"], model["last_iteration"]) == ({}, {}, 0)
    assert shared_server.failure("models.create", name="x") == (400, 12)
    assert shared_server.failure("models.create", name="x", uri="u", task="nosuch") == (400, 101)
    assert shared_server.failure("models.get_by_id", model="nosuch") == (400, 201)


def test_edit_publish_and_delete(shared_server: Any) -> None:
    call, model = shared_server.call, new_model(shared_server)
    data = call("models.edit", model=model, uri="http://h/2", framework="PyTorch", tags=[], design={"design": ""})
    assert (data["updated"], data["fields"]["framework"]) == (1, "PyTorch")
    assert call("models.update", model=model, name="renamed", ui_cache={"a": 1})["updated"] == 1
    assert "PyTorch" in call("models.get_frameworks")["frameworks"]
    assert call("models.set_ready", model=model) == {"updated": 1}
    assert shared_server.failure("models.set_ready", model=model) == (400, 203)
    assert shared_server.failure("models.delete", model=model) == (400, 203)
    assert call("models.delete", model=model, force=True) == {"deleted": True, "url": "http://h/2"}
    assert shared_server.failure("models.delete", model=model) == (400, 201)


def test_publishing_a_model_publishes_its_task(shared_server: Any) -> None:
    call = shared_server.call
    task = call("tasks.create", name="maker", type="training")["id"]
    model = new_model(shared_server, task=task)
    assert shared_server.failure("models.set_ready", model=model) == (400, 110)
    for step in ("started", "completed"):
        call(f"tasks.{step}", task=task)
    data = call("models.set_ready", model=model)
    assert data["published_task"]["id"] == task
    assert data["published_task"]["data"]["fields"]["status"] == "published"


def test_many_models(shared_server: Any) -> None:
    call, one, other = shared_server.call, new_model(shared_server), new_model(shared_server)
    assert call("models.archive_many", ids=[one, "nosuch"])["succeeded"] == [{"id": one, "archived": True}]
    assert call("models.get_by_id", model=one)["model"]["system_tags"] == ["archived"]
    assert call("models.unarchive_many", ids=[one])["succeeded"][0]["unarchived"] is True
    assert call("models.publish_many", ids=[one, other])["failed"] == []
    failed = call("models.delete_many", ids=[one, other])["failed"]
    assert [item["error"]["codes"] for item in failed] == [[400, 203], [400, 203]]
    assert len(call("models.delete_many", ids=[one, other], force=True)["succeeded"]) == 2


def test_a_model_whose_task_cannot_be_published_is_not_published_by_half(shared_server: Any) -> None:
    call = shared_server.call
    task = call("tasks.create", name="maker", type="training")["id"]
    stuck, free = new_model(shared_server, task=task), new_model(shared_server)
    data = call("models.publish_many", ids=[stuck, free])
    assert [item["error"]["codes"] for item in data["failed"]] == [[400, 110]]
    assert [item["id"] for item in data["succeeded"]] == [free]
    assert [call("models.get_by_id", model=model)["model"]["ready"] for model in (stuck, free)] == [False, True]


def test_a_model_in_use_is_kept(shared_server: Any) -> None:
    call, model = shared_server.call, new_model(shared_server)
    user = call("tasks.create", name="user", type="testing", models={"input": [{"name": "m", "model": model}]})["id"]
    assert shared_server.failure("models.delete", model=model) == (400, 202)
    maker = call("tasks.create", name="maker", type="testing")["id"]
    call("models.edit", model=model, task=maker)
    call("tasks.reset", task=maker)
    assert "task" not in call("models.get_by_id", model=model)["model"]
    found = call("tasks.get_all", only_fields=["id"], **{"models.input.model": [model]})["tasks"]
    assert found == [{"id": user}]


def test_update_for_task(shared_server: Any) -> None:
    call = shared_server.call
    task = call("tasks.create", name="maker", type="training")["id"]
    first = call("models.update_for_task", task=task, uri="http://h/1", iteration=5)
    again = call("models.update_for_task", task=task, uri="http://h/2", tags=["t"])
    assert (first["created"], again["created"], again["id"]) == (True, False, first["id"])
    model = call("models.get_by_task_id", task=task)["model"]
    assert (model["uri"], model["name"], model["tags"]) == ("http://h/2", "maker", ["t"])
    assert call("tasks.get_by_id", task=task)["task"]["last_iteration"] == 5


def test_model_queries(shared_server: Any) -> None:
    call = shared_server.call
    task = call("tasks.create", name="maker", type="training")["id"]
    model = new_model(shared_server, task=task, uri="http://h/query", tags=["q"])
    call("models.add_or_update_metadata", model=model, metadata=[{"key": "k", "type": "str", "value": "v"}])
    other = new_model(shared_server, uri="http://h/other", tags=["q"], ready=True)
    queries: list[tuple[dict[str, Any], list[str]]] = [
        ({"task": [task]}, [model]),
        ({"uri": ["http://h/query"]}, [model]),
        ({"tags": ["q"], "ready": True}, [other]),
        ({"tags": ["q"], "ready": False}, [model]),
        ({"metadata.k.value": "v"}, [model]),
        ({"tags": ["q"], "order_by": ["-created"], "page": 0, "page_size": 1}, [other]),
    ]
    for body, ids in queries:
        assert [item["id"] for item in call("models.get_all", only_fields=["id"], **body)["models"]] == ids, body
    call("models.delete_metadata", model=model, keys=["k"])
    assert call("models.get_by_id", model=model)["model"]["metadata"] == {}
    assert "q" in call("organization.get_tags")["tags"]
    assert "q" in call("projects.get_model_tags")["tags"]


def test_projects_form_a_tree(server: Any) -> None:
    call = server.call
    leaf = call("projects.create", name="one/ b /c", description="d", tags=["t"])["id"]
    names = {project["name"]: project for project in call("projects.get_all")["projects"]}
    assert list(names) == ["one", "one/b", "one/b/c"]
    found = call("projects.get_by_id", project=leaf)["project"]
    assert (found["basename"], found["parent"], found["description"]) == ("c", names["one/b"]["id"], "d")
    assert found["path"] == [names["one"]["id"], names["one/b"]["id"]]
    assert [one["name"] for one in call("projects.get_all", shallow_search=True)["projects"]] == ["one"]
    assert [one["name"] for one in call("projects.get_all", name="^one/b$")["projects"]] == ["one/b"]
    assert server.failure("projects.create", name="one/b") == (400, 801)
    assert server.failure("projects.create", name="ab") == (400, 800)
    assert server.failure("projects.create") == (400, 12)
    assert server.failure("projects.get_by_id", project="nosuch") == (400, 401)


def test_projects_are_renamed_with_all_below(server: Any) -> None:
    call = server.call
    leaf = call("projects.create", name="one/two/three")["id"]
    middle = call("projects.get_all", name="^one/two$")["projects"][0]["id"]
    data = call("projects.update", project=middle, name="other/place", description="new")
    assert data["updated"] == 1
    found = call("projects.get_by_id", project=leaf)["project"]
    other = call("projects.get_all", name="^other$")["projects"][0]["id"]
    assert (found["name"], found["path"]) == ("other/place/three", [other, middle])
    assert server.failure("projects.update", project=middle, name="one") == (400, 801)
    assert server.failure("projects.update", project=middle, name="other/place/three/x") == (400, 800)
    assert call("projects.update", project=middle, name="other/place") == {"updated": 0, "fields": {}}


def test_deleting_projects(server: Any) -> None:
    call = server.call
    project = call("projects.create", name="doomed/inner")["id"]
    top = call("projects.get_all", name="^doomed$")["projects"][0]["id"]
    task = call("tasks.create", name="task", type="training", project=project)["id"]
    model = new_model(server, project=project, ready=True)
    counts = call("projects.validate_delete", project=top)
    assert (counts["tasks"], counts["non_archived_tasks"], counts["models"]) == (1, 1, 1)
    assert server.failure("projects.delete", project=top) == (400, 402)
    data = call("projects.delete", project=top, force=True)
    assert (data["deleted"], data["disassociated_tasks"], data["deleted_tasks"]) == (2, 1, 0)
    assert "project" not in call("tasks.get_by_id", task=task)["task"]
    again = call("projects.create", name="doomed")["id"]
    call("tasks.move", ids=[task], project=again)
    call("models.move", ids=[model], project=again)
    data = call("projects.delete", project=again, force=True, delete_contents=True)
    assert (data["deleted_tasks"], data["deleted_models"]) == (1, 1)
    assert server.failure("tasks.get_by_id", task=task) == (400, 101)


def test_what_projects_tell_of_their_tasks(server: Any) -> None:
    call = server.call
    project = call("projects.create", name="stats/inner")["id"]
    params = {"Args": {"lr": {"value": "1"}, "bs": {"value": "2"}}}
    task = call("tasks.create", name="task", type="training", project=project, hyperparams=params, tags=["t"])["id"]
    call("tasks.started", task=task)
    top = call("projects.get_all", name="^stats$")["projects"][0]["id"]
    data = call("projects.get_hyper_parameters", project=top, page_size=1)
    assert (data["parameters"], data["total"], data["remaining"]) == ([{"section": "Args", "name": "bs"}], 2, 1)
    assert call("projects.get_task_tags", projects=[project], include_system=True) == {"tags": ["t"], "system_tags": []}
    listed = call("projects.get_all_ex", id=[top], include_stats=True)["projects"][0]
    assert listed["stats"]["active"]["status_count"] == {"in_progress": 1}
    moment = call("projects.get_by_id", project=project)["project"]["last_update"]
    call("tasks.completed", task=task)
    assert call("projects.get_by_id", project=project)["project"]["last_update"] > moment
    assert call("organization.get_entities_count") == {"projects": 2, "tasks": 1, "models": 0, "queues": 1}


def test_hidden_projects_are_left_out(server: Any) -> None:
    call = server.call
    hidden = call("projects.create", name="hidden", system_tags=["hidden"])["id"]
    assert call("projects.get_all")["projects"] == []
    assert len(call("projects.get_all", search_hidden=True)["projects"]) == 1
    assert len(call("projects.get_all", id=[hidden])["projects"]) == 1


def test_users(server: Any) -> None:
    call = server.call
    user = call("users.get_current_user")["user"]
    assert call("users.get_all")["users"][0]["id"] == user["id"]
    assert call("users.get_all", id=["nosuch"])["users"] == []
    assert call("users.get_all", only_fields=["name"])["users"] == [{"name": user["name"]}]
    assert call("users.get_by_id", user=user["id"])["user"]["name"] == user["name"]
    assert server.failure("users.get_by_id", user="nosuch") == (400, 301)
    assert call("users.get_preferences")["preferences"] == {}
    call("users.set_preferences", preferences={"a": {"b": 1}})
    assert call("users.get_preferences")["preferences"] == {"a": {"b": 1}}
    assert call("organization.get_user_companies")["companies"][0]["id"] == user["company"]["id"]
