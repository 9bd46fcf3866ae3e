"""The table of api_facts: what each call does to a task in each status, without and with force."""

from __future__ import annotations

from typing import Any

import pytest

E110, E123, E706 = (400, 110), (400, 123), (400, 706)
ACTIONS = [
    "started",
    "stop",
    "stopped",
    "completed",
    "failed",
    "close",
    "publish",
    "reset",
    "enqueue",
    "dequeue",
    "edit",
    "delete",
]
TABLE: dict[str, list[Any]] = {
    "created": ["in_progress", *[E110] * 6, "created", "queued", "created", "created", "gone"],
    "queued": ["in_progress", "stopped", "stopped", *[E110] * 4, "created", E706, "created", E110, E123],
    "in_progress": [
        *["in_progress", "stopped", "stopped", "completed", "failed"],
        *[E110, E110, "created", E110, "created", E110, E123],
    ],
    "stopped": [
        *["in_progress", "stopped", "stopped", "completed", "failed", "closed", "published", "created", "queued"],
        *["stopped", E110, E123],
    ],
    "completed": [
        *["in_progress", E110, E110, "completed", E110, E110, "published", "created", E110, "completed", E110, E123],
    ],
    "failed": [
        *[E110, "stopped", "stopped", E110, "failed", E110, "published", "created", "queued", "failed", E110, E123],
    ],
    "closed": [
        *[E110, "stopped", "stopped", E110, "failed", "closed", "published", "created", E110, "closed", E110, E123],
    ],
    "published": [*[E110] * 9, "published", E110, E123],
}
TARGETS = {
    "started": "in_progress",
    "stop": "stopped",
    "stopped": "stopped",
    "completed": "completed",
    "failed": "failed",
    "close": "closed",
    "publish": "published",
    "reset": "created",
    "enqueue": "queued",
    "delete": "gone",
}
WAY_THERE = {
    "created": (),
    "queued": ("enqueue",),
    "in_progress": ("started",),
    "stopped": ("started", "stopped"),
    "completed": ("started", "completed"),
    "failed": ("started", "failed"),
    "closed": ("started", "stopped", "close"),
    "published": ("started", "stopped", "publish"),
}
CELLS = [(status, action, TABLE[status][number]) for status in TABLE for number, action in enumerate(ACTIONS)]


def task_in(server: Any, status: str) -> str:
    task: str = server.call("tasks.create", name=f"a {status} task", type="testing")["id"]
    for step in WAY_THERE[status]:
        server.call(f"tasks.{step}", task=task)
    assert status_of(server, task) == status
    return task


def status_of(server: Any, task: str) -> str:
    found = server.call("tasks.get_all", id=[task], only_fields=["status"])["tasks"]
    return str(found[0]["status"]) if found else "gone"


def test_table_is_complete() -> None:
    assert len(CELLS) == 8 * 12
    assert all(len(row) == 12 for row in TABLE.values())


@pytest.mark.parametrize(("status", "action", "outcome"), CELLS, ids=lambda value: str(value).replace(" ", ""))
def test_without_force(shared_server: Any, status: str, action: str, outcome: Any) -> None:
    task = task_in(shared_server, status)
    extra = {"comment": "edited"} if action == "edit" else {}
    if isinstance(outcome, tuple):
        assert shared_server.failure(f"tasks.{action}", task=task, **extra) == outcome
        assert status_of(shared_server, task) == status
    else:
        data = shared_server.call(f"tasks.{action}", task=task, **extra)
        assert status_of(shared_server, task) == outcome
        if action == "dequeue":
            assert data["updated"] == (status in ("queued", "in_progress"))


@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "dequeue"])  # which has no force
@pytest.mark.parametrize("status", TABLE)
def test_with_force(shared_server: Any, status: str, action: str) -> None:
    task = task_in(shared_server, status)
    if (status, action) == ("queued", "enqueue"):
        assert shared_server.failure("tasks.enqueue", task=task, force=True) == E706
        return
    extra = {"comment": "edited"} if action == "edit" else {}
    shared_server.call(f"tasks.{action}", task=task, force=True, **extra)
    assert status_of(shared_server, task) == TARGETS.get(action, status)


@pytest.mark.parametrize("action", ACTIONS)
def test_unknown_task_and_missing_task(shared_server: Any, action: str) -> None:
    assert shared_server.failure(f"tasks.{action}", task="nosuch") == (400, 101)
    assert shared_server.failure(f"tasks.{action}") == (400, 12)


def test_fields_echo_of_a_change(shared_server: Any) -> None:
    task = task_in(shared_server, "in_progress")
    data = shared_server.call("tasks.failed", task=task, status_reason="why", status_message="who")
    stored = shared_server.call("tasks.get_by_id", task=task)["task"]
    assert data["updated"] == 1
    for name in ("status", "status_reason", "status_message", "status_changed", "last_update", "completed"):
        assert data["fields"][name] == stored[name]
    assert (stored["status_reason"], stored["status_message"]) == ("why", "who")


def test_started_keeps_the_first_start_and_clears_the_end(shared_server: Any) -> None:
    task = task_in(shared_server, "completed")
    before = shared_server.call("tasks.get_by_id", task=task)["task"]
    assert before["completed"]
    shared_server.call("tasks.started", task=task)
    after = shared_server.call("tasks.get_by_id", task=task)["task"]
    assert after["started"] == before["started"]
    assert "completed" not in after
    assert "started" not in shared_server.call("tasks.started", task=task)["fields"]


def test_stop_asks_the_worker_when_there_is_one(shared_server: Any) -> None:
    task = task_in(shared_server, "in_progress")
    shared_server.call("workers.status_report", worker="w:0", timestamp=1000, task=task)
    for force in (False, True):
        data = shared_server.call("tasks.stop", task=task, force=force)
        assert (data["fields"]["status"], data["fields"]["status_message"]) == ("in_progress", "stopping")
    shared_server.call("tasks.edit", task=task, force=True, system_tags=["development"])
    data = shared_server.call("tasks.stop", task=task)
    assert data["fields"]["status"] == "stopped"
    assert data["fields"]["status_message"].startswith("Stopped by ")


def test_stopping_a_waiting_task_takes_it_out_of_its_queue(shared_server: Any) -> None:
    task = task_in(shared_server, "queued")
    queue = shared_server.call("tasks.get_by_id", task=task)["task"]["execution"]["queue"]
    shared_server.call("tasks.stop", task=task)
    entries = shared_server.call("queues.get_by_id", queue=queue)["queue"]["entries"]
    assert task not in [entry["task"] for entry in entries]


def test_reset_forgets_results_and_keeps_settings(shared_server: Any) -> None:
    task = task_in(shared_server, "in_progress")
    call = shared_server.call
    artifacts = [{"key": "in", "type": "x", "mode": "input"}, {"key": "out", "type": "x", "uri": "http://h/out"}]
    call("tasks.add_or_update_artifacts", task=task, artifacts=artifacts)
    params = {"Args": {"lr": {"value": "1"}}}
    call("tasks.edit", task=task, force=True, hyperparams=params, runtime={"a": "b"}, script={"repository": "r"})
    model = call("models.create", name="weights", uri="http://h/w", task=task)["id"]
    call("tasks.add_or_update_model", task=task, name="w", model=model, type="output")
    call("tasks.failed", task=task)
    data = call("tasks.reset", task=task, return_file_urls=True)
    assert data["deleted_models"] == 1
    assert data["urls"] == {"model_urls": ["http://h/w"], "event_urls": [], "artifact_urls": ["http://h/out"]}
    found = call("tasks.get_by_id", task=task)["task"]
    assert {"started", "completed", "last_worker", "active_duration"}.isdisjoint(found)
    assert (found["status"], found["status_reason"], found["status_message"]) == ("created", "reset", "reset")
    assert found["runtime"] == {}
    assert found["models"] == {"input": [], "output": []}
    assert [item["key"] for item in found["execution"]["artifacts"]] == ["in"]
    assert found["hyperparams"]["Args"]["lr"]["value"] == "1"
    assert found["script"]["repository"] == "r"
    assert shared_server.failure("models.get_by_id", model=model) == (400, 201)
    call("tasks.reset", task=task, clear_all=True)
    assert call("tasks.get_by_id", task=task)["task"]["script"]["repository"] == ""


def test_many(shared_server: Any) -> None:
    good, bad = task_in(shared_server, "in_progress"), task_in(shared_server, "published")
    data = shared_server.call("tasks.stop_many", ids=[bad, "nosuch", good])
    assert [item["id"] for item in data["succeeded"]] == [good]
    assert data["succeeded"][0]["fields"]["status"] == "stopped"
    assert [(item["id"], item["error"]["codes"]) for item in data["failed"]] == [
        (bad, [400, 110]),
        ("nosuch", [400, 101]),
    ]


def test_one_failure_of_many_changes_nothing_of_that_one(shared_server: Any) -> None:
    waiting = task_in(shared_server, "queued")
    data = shared_server.call("tasks.delete_many", ids=[waiting])
    assert data["failed"][0]["error"]["codes"] == [400, 123]
    assert status_of(shared_server, waiting) == "queued"


def test_delete_frees_children_and_models(shared_server: Any) -> None:
    call = shared_server.call
    task = task_in(shared_server, "in_progress")
    child = call("tasks.create", name="child", type="testing", parent=task)["id"]
    published = call("models.create", name="kept", uri="http://h/k", task=task, ready=True)["id"]
    draft = call("models.create", name="gone", uri="http://h/g", task=task)["id"]
    data = call("tasks.delete", task=task, force=True)
    assert (data["updated_children"], data["updated_models"], data["deleted_models"]) == (1, 1, 1)
    assert "parent" not in call("tasks.get_by_id", task=child)["task"]
    assert "task" not in call("models.get_by_id", model=published)["model"]
    assert shared_server.failure("models.get_by_id", model=draft) == (400, 201)


def test_publish_publishes_output_models(shared_server: Any) -> None:
    call = shared_server.call
    task = task_in(shared_server, "in_progress")
    model = call("models.create", name="weights", uri="http://h/w", task=task)["id"]
    call("tasks.add_or_update_model", task=task, name="w", model=model, type="output")
    assert call("tasks.completed", task=task, publish=True)["published"] == 1
    assert call("models.get_by_id", model=model)["model"]["ready"] is True
    assert status_of(shared_server, task) == "published"
    assert shared_server.failure("models.set_ready", model=model) == (400, 203)


def test_archive_and_back(shared_server: Any) -> None:
    call = shared_server.call
    task = task_in(shared_server, "queued")
    assert call("tasks.archive", tasks=[task])["archived"] == 1
    found = call("tasks.get_by_id", task=task)["task"]
    assert (found["status"], found["system_tags"]) == ("created", ["archived"])
    assert call("tasks.unarchive_many", ids=[task])["succeeded"] == [{"id": task, "unarchived": True}]
    assert call("tasks.get_by_id", task=task)["task"]["system_tags"] == []
