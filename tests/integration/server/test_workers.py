"""Workers: registering, reporting, expiring; the watchdog over what they run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from clearml_agent_clone.server.embedded import EmbeddedServer, running_server
from clearml_agent_clone.server.watchdog import FORCED_STOP, Watchdog


class Aged:
    """A server whose clock stands where the test puts it."""

    def __init__(self) -> None:
        self.now = dt.datetime(2030, 1, 1, 12, tzinfo=dt.timezone.utc)
        self.server: EmbeddedServer

    def pass_time(self, seconds: float) -> None:
        self.now += dt.timedelta(seconds=seconds)

    def call(self, endpoint: str, **body: Any) -> Any:
        auth = (self.server.access_key, self.server.secret_key)
        answer = requests.post(f"{self.server.api_url}/{endpoint}", json=body, auth=auth, timeout=30).json()
        meta = answer["meta"]
        return answer["data"] if meta["result_code"] == 200 else (meta["result_code"], meta["result_subcode"])

    def status(self, task: str) -> str:
        return str(self.call("tasks.get_by_id", task=task)["task"]["status"])


@pytest.fixture
def aged(tmp_path: Path) -> Iterator[Aged]:
    found = Aged()
    with running_server(tmp_path / "server", clock=lambda: found.now) as found.server:
        yield found


def test_register_report_unregister(aged: Aged) -> None:
    queue = aged.call("queues.get_default")["id"]
    assert aged.call("workers.register", worker="host:0", queues=[queue], tags=["a"], resources=None) == {}
    project = aged.call("projects.create", name="running")["id"]
    task = aged.call("tasks.create", name="the task", type="training", project=project)["id"]
    waiting = aged.call("tasks.create", name="the next", type="training")["id"]
    aged.call("tasks.enqueue", task=waiting)
    aged.call("tasks.started", task=task)
    aged.pass_time(5)
    report = {"worker": "host:0", "timestamp": 1000, "queues": [queue], "queue": queue, "task": task, "tags": None}
    stats = {"cpu_usage": [50.0], "gpu_usage": [1, 2], "memory_used": 3.5, "disk_read": None}
    assert aged.call("workers.status_report", is_daemon=True, machine_stats=stats, **report) == {}
    worker = aged.call("workers.get_all", last_seen=60)["workers"][0]
    user = aged.call("users.get_current_user")["user"]
    assert worker == {
        "id": "host:0",
        "key": f"worker_{user['company']['id']}_{user['id']}_host:0",
        "ip": "127.0.0.1",
        "user": {"id": user["id"], "name": user["name"]},
        "company": user["company"],
        "queue": {"id": queue, "name": "default"},
        "queues": [
            {"id": queue, "name": "default", "num_tasks": 1, "next_task": {"id": waiting, "name": "the next"}},
        ],
        "task": {"id": task, "name": "the task", "running_time": 5000, "last_iteration": 0},
        "project": {"id": project, "name": "running"},
        "tags": ["a"],
        "system_tags": [],
        "register_time": "2030-01-01T12:00:00.000000+00:00",
        "register_timeout": 600,
        "last_activity_time": "2030-01-01T12:00:05.000000+00:00",
        "last_report_time": "2030-01-01T12:00:05.000000+00:00",
    }
    stored = aged.call("tasks.get_by_id", task=task)["task"]
    assert (stored["last_worker"], stored["last_worker_report"]) == ("host:0", worker["last_report_time"])
    assert stored["last_update"] == worker["last_report_time"]
    assert aged.call("workers.unregister", worker="host:0", queues=[]) == {}
    assert aged.call("workers.unregister", worker="never seen") == {}
    assert aged.call("workers.get_all")["workers"] == []


def test_reports_register_and_bad_ones_are_refused(aged: Aged) -> None:
    assert aged.call("workers.register", worker="w", queues=["nosuch"]) == (400, 701)
    assert aged.call("workers.status_report", worker="w", timestamp=1, task="nosuch") == (400, 101)
    assert aged.call("workers.status_report", worker="w") == (400, 12)
    assert aged.call("workers.get_count")["count"] == 0
    assert aged.call("workers.status_report", worker="w:0", timestamp=1, machine_stats=None) == {}
    assert aged.call("workers.status_report", worker="v:0", timestamp=1, tags=["x"]) == {}
    assert aged.call("workers.get_count")["count"] == 2
    assert aged.call("workers.get_count", worker_pattern="w:*")["count"] == 1
    assert aged.call("workers.get_count", tags=["x"])["count"] == 1
    assert aged.call("workers.get_count", tags=["-x"])["count"] == 1


def test_silent_workers_expire(aged: Aged) -> None:
    aged.call("workers.register", worker="short", timeout=60)
    aged.call("workers.register", worker="long")
    aged.pass_time(61)
    assert [worker["id"] for worker in aged.call("workers.get_all")["workers"]] == ["long"]
    assert aged.call("workers.get_all", last_seen=60)["workers"] == []
    aged.call("workers.status_report", worker="short", timestamp=1)
    assert len(aged.call("workers.get_all", last_seen=60)["workers"]) == 1
    aged.pass_time(601)
    assert aged.call("workers.get_all")["workers"] == []


def test_statistics(aged: Aged) -> None:
    start = aged.now.timestamp()
    for usage in (10, 30, 50):
        stats = {"cpu_usage": [usage, usage + 10], "memory_free": usage}
        aged.call("workers.status_report", worker="w", timestamp=1, machine_stats=stats)
        aged.pass_time(30)
    period = {"from_date": start, "to_date": start + 120, "interval": 60}
    keys = aged.call("workers.get_metric_keys", worker_ids=["w"])["categories"]
    assert keys == [{"name": "cpu", "metric_keys": ["cpu_usage"]}, {"name": "memory", "metric_keys": ["memory_free"]}]
    items = [{"key": "cpu_usage", "category": name} for name in ("avg", "max")]
    found = aged.call("workers.get_stats", items=items, **period)["workers"]
    assert found[0]["worker"] == "w"
    metric = found[0]["metrics"][0]
    assert metric["dates"] == [start, start + 60]
    assert metric["stats"] == [
        {"aggregation": "avg", "values": [25.0, 55.0]},
        {"aggregation": "max", "values": [40.0, 60.0]},
    ]
    split = aged.call("workers.get_stats", items=items[:1], split_by_variant=True, **period)["workers"][0]["metrics"]
    assert [(one["variant"], one["stats"][0]["values"]) for one in split] == [("0", [20.0, 50.0]), ("1", [30.0, 60.0])]
    assert aged.call("workers.get_activity_report", **period)["total"]["counts"] == [1, 1]
    assert aged.call("workers.get_activity_report", **period)["active"]["counts"] == [0, 0]
    for bad in ({"to_date": start}, {"from_date": None}, {"interval": 40, "to_date": start + 1e9}):
        assert aged.call("workers.get_stats", items=items, **{**period, **bad}) == (400, 12)


def test_queue_metrics(aged: Aged) -> None:
    start, queue = aged.now.timestamp(), aged.call("queues.get_default")["id"]
    for _ in range(2):
        aged.call("tasks.enqueue", task=aged.call("tasks.create", name="task", type="testing")["id"])
    aged.pass_time(10)
    aged.call("queues.get_next_task", queue=queue)
    period = {"from_date": start, "to_date": start + 60, "interval": 60}
    assert aged.call("queues.get_queue_metrics", queue_ids=[queue], **period)["queues"] == [
        {"queue": queue, "dates": [start], "avg_waiting_times": [10.0], "queue_lengths": [1]}
    ]


def test_runtime_properties_expire(aged: Aged) -> None:
    items = [{"key": "force", "value": "on"}, {"key": "brief", "value": "x", "expiry": 60}]
    body = {"worker": "w", "runtime_properties": items}
    assert aged.call("workers.set_runtime_properties", **body) == {"added": 2, "updated": 0}
    assert aged.call("workers.set_runtime_properties", **body) == {"added": 0, "updated": 2}
    found = aged.call("workers.get_runtime_properties", worker="w")["runtime_properties"]
    assert [(item["key"], item["value"]) for item in found] == [("brief", "x"), ("force", "on")]
    aged.pass_time(61)
    found = aged.call("workers.get_runtime_properties", worker="w")["runtime_properties"]
    assert found == [{"key": "force", "value": "on", "expiry": None}]
    assert aged.call("workers.get_runtime_properties", worker="other")["runtime_properties"] == []


def test_watchdog_stops_silent_tasks(aged: Aged) -> None:
    silent, alive = (aged.call("tasks.create", name="task", type="testing")["id"] for _ in range(2))
    dog = Watchdog(aged.server.state, aged.now)
    for task in (silent, alive):
        aged.call("tasks.started", task=task)
    for _ in range(9):
        aged.pass_time(850)
        aged.call("tasks.ping", task=alive)
        assert dog.step(aged.now) == 900
    assert (aged.status(silent), aged.status(alive)) == ("stopped", "in_progress")
    stopped = aged.call("tasks.get_by_id", task=silent)["task"]
    assert (stopped["status_reason"], stopped["status_message"]) == (FORCED_STOP, FORCED_STOP)
    assert stopped["completed"] == stopped["started"]


def test_watchdog_waits_after_a_gap(aged: Aged) -> None:
    task = aged.call("tasks.create", name="task", type="testing")["id"]
    aged.call("tasks.started", task=task)
    dog = Watchdog(aged.server.state, aged.now)
    aged.pass_time(8000)  # the machine slept; the worker had no chance to report
    dog.step(aged.now)
    assert aged.status(task) == "in_progress"
    aged.pass_time(900)
    dog.step(aged.now)
    assert aged.status(task) == "stopped"


def test_watchdog_returns_what_was_claimed_and_never_used(aged: Aged) -> None:
    queue = aged.call("queues.get_default")["id"]
    lost, used = (aged.call("tasks.create", name="task", type="testing")["id"] for _ in range(2))
    for task in (lost, used):
        aged.call("tasks.enqueue", task=task)
        aged.call("queues.get_next_task", queue=queue, claim=f"claim of {task}")
    aged.call("tasks.started", task=used)
    dog = Watchdog(aged.server.state, aged.now)
    aged.pass_time(3500)
    dog.step(aged.now)
    assert aged.call("queues.get_num_entries", queue=queue)["num"] == 0
    aged.pass_time(200)
    dog.step(aged.now)
    entries = aged.call("queues.get_by_id", queue=queue)["queue"]["entries"]
    assert [entry["task"] for entry in entries] == [lost]
