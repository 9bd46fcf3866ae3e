"""Whatever is sent, the answer is an envelope, and never "our fault"."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from clearml_agent_clone.server.registry import REGISTRY

NAMES = sorted(set(REGISTRY.names()) - {"auth.revoke_credentials", "auth.logout"})
VALUES: list[Any] = [
    None,
    "",
    "x",
    "\x00",
    "\ud800",
    "a\udfff",
    "__$not",
    '"',
    "(",
    0,
    -1,
    10**30,
    1.5,
    1e308,
    True,
    [],
    [None],
    [[]],
    [{}],
    ["x", 5],
    {},
    {"x": None},
    {"": {"": []}},
    {"key": "a", "name": "b", "value": ["c"]},
]
FIELDS = [
    *("task", "tasks", "ids", "id", "queue", "queues", "model", "project", "worker", "name", "type", "uri", "user"),
    *("only_fields", "order_by", "page", "page_size", "scroll_id", "size", "search_text", "_any_", "filters", "tags"),
    *("script", "execution", "hyperparams", "configuration", "runtime", "models", "container", "artifacts", "metadata"),
    *("requirements", "machine_stats", "timestamp", "from_date", "to_date", "interval", "items", "metrics", "metric"),
    *("force", "wait_", "claim", "count", "new_status", "runtime_properties", "keys", "expiration_sec", "iters", "key"),
    *("event_type", "batch_size", "order", "from_timestamp", "line_format", "status_message", "created", "preferences"),
]


@pytest.mark.parametrize("text", ['{"runtime": {"a": NaN}}', '{"runtime": {"a": -Infinity}}'])
def test_numbers_that_are_none(shared_server: Any, text: str) -> None:
    answer = shared_server.http.post(f"{shared_server.api_url}/tasks.create", data=text)
    assert answer.status_code == 400


@pytest.mark.parametrize("depth", [100, 500, 900, 990, 1500, 5000])
def test_deep_nesting(shared_server: Any, depth: int) -> None:
    text = '{"name": "deep", "type": "testing", "runtime": ' + '{"a":' * depth + "1" + "}" * depth + "}"
    answer = shared_server.http.post(f"{shared_server.api_url}/tasks.create", data=text)
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        shared_server.call("tasks.get_by_id", task=answer.json()["data"]["id"])


@pytest.mark.parametrize("endpoint", NAMES)
def test_any_body(shared_server: Any, endpoint: str) -> None:
    call = shared_server.call
    task = call("tasks.create", name="some task", type="testing")["id"]
    queue = call("queues.create", name=f"queue for {task}")["id"]
    real = {
        "task": task,
        "tasks": [task],
        "ids": [task],
        "queue": queue,
        "model": call("models.create", name="some model", uri="u")["id"],
        "project": call("projects.create", name=f"project {task}")["id"],
        "worker": "w",
        "name": f"name {task}",
        "type": "training",
        "uri": "u",
    }
    chance = random.Random(endpoint)
    versions = ["v2.1", "v2.8", "v2.13", "v2.34"]
    for number, field in enumerate(FIELDS):
        version = versions[number // 2 % len(versions)]
        known = dict(real) if number % 2 else {}
        body = {**known, field: chance.choice(VALUES), chance.choice(FIELDS): chance.choice(VALUES)}
        answer = shared_server.http.post(f"{shared_server.api_url}/{version}/{endpoint}", data=json.dumps(body))
        if endpoint == "events.download_task_log" and answer.status_code == 200:
            continue
        meta = answer.json()["meta"]
        assert meta["result_code"] == answer.status_code
        assert answer.status_code in (200, 400, 401, 404), (body, meta)
