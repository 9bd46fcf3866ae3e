"""Events over HTTP: what is taken in, and what is refused."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from clearml_agent_clone.server.documents import MODELS, TASKS
from clearml_agent_clone.server.embedded import running_server

LOSS, TRAIN = "81513effdf5790b79549208838404407", "61b3a8faa9c1091806675c230a9abe64"
SINGLE = -(2**31)


@pytest.fixture
def task(shared_server: Any) -> str:
    return make_task(shared_server)


def make_task(server: Any, **fields: Any) -> str:
    key = uuid.uuid4().hex
    with server.state.db.write() as db:
        TASKS.insert(db, {"id": key, "name": f"task {key[:4]}", "status": "in_progress", **fields})
    return key


def make_model(server: Any, **fields: Any) -> str:
    key = uuid.uuid4().hex
    with server.state.db.write() as db:
        MODELS.insert(db, {"id": key, "name": "model", "ready": False, **fields})
    return key


def document(server: Any, task: str) -> dict[str, Any]:
    with server.state.db.read() as db:
        found: dict[str, Any] = TASKS.get(db, task)
        return found


def send(server: Any, *events: Any, **headers: str) -> requests.Response:
    lines = b"\n".join(event if isinstance(event, bytes) else json.dumps(event).encode() for event in events)
    headers = {"Content-Type": "application/json-lines", **headers}
    answer: requests.Response = server.http.post(f"{server.api_url}/events.add_batch", data=lines, headers=headers)
    return answer


def added(server: Any, *events: Any, **headers: str) -> dict[str, Any]:
    answer = send(server, *events, **headers)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def log(task: str, msg: str, time: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "log", "task": task, "msg": msg, **({"timestamp": time} if time else {}), **more}


def scalar(task: str, value: float, iteration: int, **more: Any) -> dict[str, Any]:
    found = {"type": "training_stats_scalar", "task": task, "metric": "loss", "variant": "train"}
    return {**found, "iter": iteration, "value": value, **more}


def test_a_batch_is_taken_in(shared_server: Any, task: str) -> None:
    events = log(task, "hello", 5, level="DEBUG"), scalar(task, 0.5, 3, timestamp=9)
    assert added(shared_server, *events, **{"X-ClearML-Worker": "rig:0"}) == {
        "added": 2,
        "errors": 0,
        "errors_info": {},
    }
    (event,) = shared_server.call("events.get_task_log", task=task)["events"]
    assert event.pop("@timestamp")
    assert event == {
        "timestamp": 5,
        "type": "log",
        "task": task,
        "level": "DEBUG",
        "worker": "rig:0",
        "msg": "hello",
        "metric": "",
        "variant": "",
    }


def test_times_default_to_the_servers(shared_server: Any, task: str) -> None:
    before = int(time.time() * 1000)
    added(shared_server, log(task, "x"))
    (event,) = shared_server.call("events.get_task_log", task=task)["events"]
    assert before <= event["timestamp"] <= time.time() * 1000


def test_bad_lines_do_not_fail_the_batch(shared_server: Any, task: str) -> None:
    missing = "f" * 32
    events = log(task, "x"), {"type": "nonsense", "task": task}, b"{", log(missing, "y"), log(missing, "z")
    assert added(shared_server, *events) == {
        "added": 1,
        "errors": 4,
        "errors_info": {"Invalid event type nonsense": 1, "Invalid JSON": 1, f"Invalid task id {missing}": 2},
    }


def test_nothing_added_is_a_fault(shared_server: Any) -> None:
    missing = "f" * 32
    answer = send(shared_server, log(missing, "x"), log(missing, "y"))
    meta = answer.json()["meta"]
    assert (answer.status_code, meta["result_subcode"]) == (400, 131)
    assert meta["result_msg"] == f"Events not added: Invalid task id {missing}=2"


def test_empty_batch(shared_server: Any) -> None:
    answer = send(shared_server)
    assert (answer.status_code, answer.json()["meta"]["result_subcode"]) == (400, 17)


def test_single_event(shared_server: Any, task: str) -> None:
    assert shared_server.call("events.add", **scalar(task, 2, 1)) == {"added": 1, "errors": 0, "errors_info": {}}
    assert shared_server.failure("events.add", type="log", task="f" * 32) == (400, 131)


@pytest.mark.parametrize("status", ["published", "publishing"])
def test_published_tasks_are_locked(shared_server: Any, status: str) -> None:
    task = make_task(shared_server, status=status)
    assert send(shared_server, log(task, "x")).status_code == 400
    assert added(shared_server, log(task, "x"), log(task, "y", allow_locked=True))["added"] == 1
    assert shared_server.failure("events.delete_for_task", task=task) == (400, 101)
    assert shared_server.call("events.delete_for_task", task=task, allow_locked=True) == {"deleted": True}


def test_scalars_update_the_task(shared_server: Any, task: str) -> None:
    added(shared_server, scalar(task, 1.0, 0), scalar(task, 0.25, 1))
    added(shared_server, scalar(task, 0.5, 2), scalar(task, 8, SINGLE, metric="Summary", variant="final"))
    found = document(shared_server, task)
    assert found["last_iteration"] == 2
    assert found["last_metrics"][LOSS][TRAIN] == {
        "metric": "loss",
        "variant": "train",
        "value": 0.5,
        "min_value": 0.25,
        "min_value_iteration": 1,
        "max_value": 1.0,
        "max_value_iteration": 0,
        "first_value": 1.0,
        "first_value_iteration": 0,
        "count": 3,
        "mean_value": pytest.approx(1.75 / 3),
    }
    assert found["last_update"] == found["last_change"]


def test_log_lines_refresh_the_task_and_nothing_else(shared_server: Any) -> None:
    task = make_task(shared_server, last_update="2000-01-01T00:00:00.000000+00:00")
    added(shared_server, log(task, "x"))
    found = document(shared_server, task)
    assert found["last_update"] > "2020"
    assert "last_iteration" not in found
    assert "last_metrics" not in found


def test_points_replace_and_lines_append(shared_server: Any, task: str) -> None:
    image = {"type": "training_debug_image", "task": task, "metric": "m", "variant": "v", "iter": 1}
    for round_ in range(2):
        added(
            shared_server,
            log(task, "same", 7),
            scalar(task, round_, 1),
            {**image, "key": "a", "url": f"http://f/{round_}"},
            {**image, "key": "b", "url": "http://f/b"},
        )
    found = shared_server.call("events.get_task_events", task=task)
    assert found["total"] == found["returned"] == 5
    assert [event["value"] for event in found["events"] if "value" in event] == [1.0]
    assert [event["url"] for event in found["events"] if "url" in event] == ["http://f/1", "http://f/b"]
    assert [event["msg"] for event in found["events"] if "msg" in event] == ["same", "same"]


def test_model_events(shared_server: Any, task: str) -> None:
    model = make_model(shared_server)
    event = scalar(model, 3.0, 1, model_event=True)
    assert added(shared_server, event)["added"] == 1
    assert send(shared_server, scalar(model, 1, 1)).status_code == 400
    curve = {"loss": {"train": {"name": "train", "x": [1], "y": [3.0]}}}
    assert shared_server.call("events.scalar_metrics_iter_histogram", task=model, model_events=True) == curve
    assert shared_server.failure("events.scalar_metrics_iter_histogram", task=model) == (400, 101)
    assert shared_server.failure("events.scalar_metrics_iter_histogram", task=task, model_events=True) == (400, 201)
    with shared_server.state.db.read() as db:
        assert MODELS.get(db, model)["last_metrics"][LOSS][TRAIN]["value"] == 3.0
    assert shared_server.call("events.delete_for_model", model=model) == {"deleted": True}


def test_ready_models_are_locked(shared_server: Any) -> None:
    model = make_model(shared_server, ready=True)
    assert send(shared_server, scalar(model, 3.0, 1, model_event=True)).status_code == 400
    assert added(shared_server, scalar(model, 3.0, 1, model_event=True, allow_locked=True))["added"] == 1


def test_deleting(shared_server: Any, task: str) -> None:
    other = make_task(shared_server)
    added(shared_server, log(task, "x"), scalar(task, 1, 1), log(other, "stays"))
    assert shared_server.call("events.delete_for_task", task=task) == {"deleted": True}
    assert shared_server.call("events.get_task_events", task=task)["total"] == 0
    assert shared_server.call("events.get_task_log", task=other)["total"] == 1
    assert shared_server.failure("events.delete_for_task", task="f" * 32) == (400, 101)


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """The database on disk holds what was answered, while the server is still running."""
    with running_server(tmp_path / "one") as first:
        session = requests.Session()
        session.auth = (first.access_key, first.secret_key)
        task = uuid.uuid4().hex
        with first.state.db.write() as db:
            TASKS.insert(db, {"id": task, "name": "t", "status": "in_progress"})
        body = json.dumps(log(task, "kept"))
        answer = session.post(
            f"{first.api_url}/events.add_batch", data=body, headers={"Content-Type": "application/json-lines"}
        )
        assert answer.status_code == 200
        copy = tmp_path / "two"
        copy.mkdir(mode=0o700)
        for name in ("server.db", "server.db-wal", "credentials.json"):
            (copy / name).write_bytes((tmp_path / "one" / name).read_bytes())
        session.close()
    with running_server(copy) as second:
        answer = requests.post(
            f"{second.api_url}/events.get_task_log",
            json={"task": task},
            auth=(second.access_key, second.secret_key),
            timeout=30,
        )
        assert [event["msg"] for event in answer.json()["data"]["events"]] == ["kept"]


def test_a_hundred_thousand_lines(shared_server: Any, task: str) -> None:
    """Short lines in messages of up to 64 KiB, requests of up to 1 MiB: complete, in order, and soon."""
    lines = [f"line {number:06} of the console" for number in range(100_000)]
    per_message = 64 * 1024 // (len(lines[0]) + 1)
    messages = [
        json.dumps(log(task, "\n".join(lines[start : start + per_message]) + "\n", 1_700_000_000_000))
        for start in range(0, len(lines), per_message)
    ]
    started = time.monotonic()
    for start in range(0, len(messages), 15):
        added(shared_server, *(message.encode() for message in messages[start : start + 15]))
    assert time.monotonic() - started < 2.0
    found = shared_server.call("events.get_task_log", task=task, navigate_earlier=False)
    assert "".join(event["msg"] for event in found["events"]).splitlines() == lines
