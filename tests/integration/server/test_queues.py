"""Queues: order, edges, waiting for a task, claims."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from clearml_agent_clone.server.embedded import running_server


def new_queue(server: Any, **fields: Any) -> str:
    return str(server.call("queues.create", name=f"queue {uuid.uuid4().hex}", **fields)["id"])


def new_task(server: Any, queue: str = "") -> str:
    task = str(server.call("tasks.create", name="some task", type="training")["id"])
    if queue:
        server.call("tasks.enqueue", task=task, queue=queue)
    return task


def order(server: Any, queue: str) -> list[str]:
    return [entry["task"] for entry in server.call("queues.get_by_id", queue=queue)["queue"]["entries"]]


def pop(server: Any, queue: str, **body: Any) -> str | None:
    entry = server.call("queues.get_next_task", queue=queue, **body).get("entry")
    return entry["task"] if entry else None


def in_thread(server: Any, **body: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def ask() -> None:
        auth = (server.access_key, server.secret_key)
        answer = requests.post(f"{server.api_url}/queues.get_next_task", json=body, auth=auth, timeout=70)
        found.extend([answer.json()["data"], time.monotonic()])

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, found


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def waiting(server: Any) -> int:
    return sum(len(events) for events in server.state.arrivals._waiting.values())


def test_a_fresh_server_has_the_default_queue(server: Any) -> None:
    queues = server.call("queues.get_all")["queues"]
    assert [(queue["name"], queue["system_tags"], queue["entries"]) for queue in queues] == [
        ("default", ["default"], [])
    ]
    assert server.call("queues.get_default") == {"id": queues[0]["id"], "name": "default"}
    server.call("queues.delete", queue=queues[0]["id"])
    assert server.failure("queues.get_default") == (400, 707)
    task = new_task(server)
    assert server.failure("tasks.enqueue", task=task) == (400, 707)
    new_queue(server, system_tags=["default"])
    new_queue(server, system_tags=["default"])
    assert server.failure("queues.get_default") == (400, 708)


def test_first_in_first_out_and_status_stays_queued(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    tasks = [new_task(shared_server, queue) for _ in range(3)]
    assert order(shared_server, queue) == tasks
    assert shared_server.call("queues.get_num_entries", queue=queue)["num"] == 3
    assert shared_server.call("queues.peek_task", queue=queue)["task"] == tasks[0]
    data = shared_server.call("v2.14/queues.get_next_task", queue=queue, get_task_info=True)
    assert data["entry"].keys() == {"task", "added"}
    assert data["task_info"]["user"] == shared_server.call("users.get_current_user")["user"]["id"]
    assert [pop(shared_server, queue), pop(shared_server, queue)] == tasks[1:]
    assert shared_server.call("queues.get_next_task", queue=queue) == {}
    assert shared_server.call("queues.peek_task", queue=queue) == {}
    assert shared_server.call("tasks.get_by_id", task=tasks[0])["task"]["status"] == "queued"


def test_a_stopped_task_that_is_popped_waits_again(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    task = new_task(shared_server, queue)
    shared_server.call("tasks.stopped", task=task)
    assert pop(shared_server, queue) == task
    assert shared_server.call("tasks.get_by_id", task=task)["task"]["status"] == "queued"


def test_moves(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    a, b, c, d = tasks = [new_task(shared_server, queue) for _ in range(4)]

    def move(how: str, task: str, **body: Any) -> tuple[int, list[int]]:
        position = shared_server.call(f"queues.move_task_{how}", queue=queue, task=task, **body)["position"]
        return position, [tasks.index(one) for one in order(shared_server, queue)]

    assert move("to_front", d) == (0, [3, 0, 1, 2])
    assert move("to_back", a) == (3, [3, 1, 2, 0])
    assert move("forward", c) == (1, [3, 2, 1, 0])
    assert move("backward", d, count=2) == (2, [2, 1, 3, 0])
    assert move("forward", a, count=99) == (0, [0, 2, 1, 3])
    assert move("backward", b, count=99) == (3, [0, 2, 3, 1])
    other = new_task(shared_server)
    assert shared_server.failure("queues.move_task_to_back", queue=queue, task=other) == (400, 703)
    later = new_task(shared_server, queue)
    assert order(shared_server, queue)[-1] == later


def test_edges(shared_server: Any) -> None:
    call, queue = shared_server.call, new_queue(shared_server)
    task = new_task(shared_server, queue)
    assert shared_server.failure("queues.add_task", queue=queue, task=task) == (400, 706)
    assert shared_server.failure("queues.delete", queue=queue) == (400, 702)
    assert shared_server.failure("queues.get_next_task", queue="nosuch") == (400, 701)
    assert shared_server.failure("queues.get_by_id", queue="default") == (400, 701)
    assert shared_server.failure("queues.add_task", queue=queue, task="nosuch") == (400, 101)
    assert call("queues.remove_task", queue=queue, task=task)["removed"] == 1
    assert call("tasks.get_by_id", task=task)["task"]["status"] == "queued"
    assert shared_server.failure("queues.remove_task", queue=queue, task=task) == (400, 703)
    call("tasks.enqueue", task=task, queue=queue)
    call("queues.remove_task", queue=queue, task=task, update_task_status=True)
    assert call("tasks.get_by_id", task=task)["task"]["status"] == "created"
    call("tasks.enqueue", task=task, queue=queue)
    assert call("queues.delete", queue=queue, force=True)["deleted"] == 1
    assert call("tasks.get_by_id", task=task)["task"]["status"] == "created"


def test_enqueue(shared_server: Any) -> None:
    call, name = shared_server.call, f"fresh {uuid.uuid4().hex}"
    task = new_task(shared_server)
    call("tasks.edit", task=task, system_tags=["development", "x"])
    data = call("tasks.enqueue", task=task, queue_name=name, verify_watched_queue=True)
    assert (data["queued"], data["updated"], data["queue_watched"]) == (1, 1, False)
    queue = call("queues.get_all", name=f"^{name}$")["queues"][0]["id"]
    assert data["fields"]["execution.queue"] == queue
    assert data["fields"]["enqueue_status"] == "created"
    assert call("tasks.get_by_id", task=task)["task"]["system_tags"] == ["x"]
    call("workers.register", worker="watcher", queues=[queue])
    other = new_task(shared_server)
    assert call("tasks.enqueue", task=other, queue=queue, verify_watched_queue=True)["queue_watched"] is True
    elsewhere = new_queue(shared_server)
    call("tasks.enqueue", task=task, queue=elsewhere)
    assert (order(shared_server, queue), order(shared_server, elsewhere)) == ([other], [task])
    assert shared_server.failure("tasks.enqueue", task=task, queue="nosuch") == (400, 701)
    assert call("queues.clear_queue", queue=elsewhere)["removed_tasks"] == [task]


def test_dequeue_returns_to_the_status_from_before(shared_server: Any) -> None:
    call, queue = shared_server.call, new_queue(shared_server)
    task = new_task(shared_server)
    for step in ("started", "stopped"):
        call(f"tasks.{step}", task=task)
    call("tasks.enqueue", task=task, queue=queue)
    data = call("tasks.dequeue", task=task)
    assert (data["dequeued"], data["fields"]["status"], data["fields"]["enqueue_status"]) == (1, "stopped", None)
    assert order(shared_server, queue) == []
    call("tasks.enqueue", task=task, queue=queue)
    assert call("tasks.dequeue", task=task, new_status="in_progress")["fields"]["status"] == "in_progress"
    assert shared_server.failure("tasks.dequeue", task=task, new_status="nonsense") == (400, 12)


def test_names_are_unique_and_metadata_is_kept(shared_server: Any) -> None:
    call, name = shared_server.call, f"unique {uuid.uuid4().hex}"
    queue = call("queues.create", name=name, metadata={"a": {"value": "1"}})["id"]
    assert shared_server.failure("queues.create", name=name) == (400, 801)
    assert shared_server.failure("queues.create") == (400, 12)
    call("queues.update", queue=queue, name=name, tags=["t"], display_name="shown")
    call("queues.add_or_update_metadata", queue=queue, metadata=[{"key": "b", "type": "str", "value": "2"}])
    call("queues.delete_metadata", queue=queue, keys=["a"])
    found = call("queues.get_by_id", queue=queue)["queue"]
    assert (found["tags"], found["display_name"]) == (["t"], "shown")
    assert found["metadata"] == {"b": {"key": "b", "type": "str", "value": "2"}}


def test_projection_of_entries(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    task = new_task(shared_server, queue)
    for names, keys in ((["id", "tags"], {"id", "tags"}), (["name", "entries"], {"name", "entries", "id"})):
        found = shared_server.call("queues.get_all", id=[queue], only_fields=names)["queues"]
        assert found[0].keys() == keys
    expanded = shared_server.call("queues.get_all_ex", id=[queue])["queues"][0]
    assert expanded["entries"][0]["task"] == {"id": task, "name": "some task"}
    limited = shared_server.call("queues.get_by_id", queue=queue, max_task_entries=0)["queue"]
    assert limited["entries"] == []


def test_waiting_wakes_at_once(shared_server: Any) -> None:
    first, second = new_queue(shared_server), new_queue(shared_server)
    thread, found = in_thread(shared_server, queues=[first, second], wait=30)
    until(lambda: waiting(shared_server) >= 2)
    task = new_task(shared_server)
    shared_server.call("tasks.enqueue", task=task, queue=second)
    enqueued = time.monotonic()
    thread.join(20)
    assert found[0]["entry"]["task"] == task
    assert found[0]["entry"]["queue"] == second
    assert found[1] - enqueued < 1.0  # milliseconds, on a machine with nothing else to do
    until(lambda: waiting(shared_server) == 0)


def test_waiting_takes_from_the_first_queue_that_has_one(shared_server: Any) -> None:
    first, second = new_queue(shared_server), new_queue(shared_server)
    low, high = new_task(shared_server, second), new_task(shared_server, first)
    entries = [shared_server.call("queues.get_next_task", queues=[first, second], wait=5)["entry"] for _ in range(2)]
    assert [(entry["task"], entry["queue"]) for entry in entries] == [(high, first), (low, second)]


def test_waiting_ends_when_the_time_is_over(shared_server: Any) -> None:
    queue, began = new_queue(shared_server), time.monotonic()
    assert shared_server.call("queues.get_next_task", queue=queue, wait=0.3) == {}
    assert 0.3 <= time.monotonic() - began < 5


def test_every_task_goes_to_one_waiter(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    waiters = [in_thread(shared_server, queue=queue, wait=20, claim=uuid.uuid4().hex) for _ in range(6)]
    until(lambda: waiting(shared_server) == 6)
    tasks = {new_task(shared_server, queue) for _ in range(6)}
    for thread, _ in waiters:
        thread.join(20)
    assert {found[0]["entry"]["task"] for _, found in waiters} == tasks


def test_who_hangs_up_takes_nothing_along(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    host, port = shared_server.api_url.removeprefix("http://").split(":")
    token = shared_server.call("auth.login")["token"]
    body = f'{{"queue": "{queue}", "wait": 30}}'
    request = (
        f"POST /queues.get_next_task HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(request.encode())
        until(lambda: waiting(shared_server) == 1)
    until(lambda: waiting(shared_server) == 0)
    task = new_task(shared_server, queue)
    assert order(shared_server, queue) == [task]


def test_a_queue_that_is_deleted_ends_the_wait(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    thread, found = in_thread(shared_server, queue=queue, wait=30)
    until(lambda: waiting(shared_server) == 1)
    shared_server.call("queues.delete", queue=queue)
    thread.join(10)
    assert found[0] == {}
    assert shared_server.failure("queues.get_next_task", queue=queue, wait=1) == (400, 701)


def test_the_same_claim_gets_the_same_entry(tmp_path: Path, shared_server: Any) -> None:
    queue = new_queue(shared_server)
    first, second = new_task(shared_server, queue), new_task(shared_server, queue)
    claim = uuid.uuid4().hex
    entry = shared_server.call("queues.get_next_task", queue=queue, claim=claim)["entry"]
    assert (entry["task"], entry["queue"]) == (first, queue)
    for body in ({"queue": queue}, {"queues": [queue], "wait": 5}):
        assert shared_server.call("queues.get_next_task", claim=claim, **body)["entry"] == entry
    assert order(shared_server, queue) == [second]
    assert shared_server.failure("queues.get_next_task", queue=queue, claim="x" * 1000) == (400, 12)


def test_claims_survive_a_restart(tmp_path: Path) -> None:
    def ask(server: Any, endpoint: str, **body: Any) -> Any:
        auth = (server.access_key, server.secret_key)
        return requests.post(f"{server.api_url}/{endpoint}", json=body, auth=auth, timeout=10).json()["data"]

    with running_server(tmp_path) as server:
        queue = ask(server, "queues.get_default")["id"]
        task = ask(server, "tasks.create", name="some task", type="testing")["id"]
        ask(server, "tasks.enqueue", task=task)
        entry = ask(server, "queues.get_next_task", queue=queue, claim="mine")["entry"]
    with running_server(tmp_path) as server:
        assert ask(server, "queues.get_next_task", queue=queue, claim="mine")["entry"] == entry
        assert ask(server, "queues.get_next_task", queue=queue, claim="other") == {}


def test_stopping_the_server_answers_who_waits(tmp_path: Path) -> None:
    with running_server(tmp_path) as embedded:
        queue = requests.post(
            f"{embedded.api_url}/queues.get_default", auth=(embedded.access_key, embedded.secret_key), timeout=10
        ).json()["data"]["id"]
        thread, found = in_thread(embedded, queue=queue, wait=60)
        until(lambda: waiting(embedded) == 1)
        began = time.monotonic()
    thread.join(10)
    assert found[0] == {}
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("body", [{"wait": "x"}, {"wait": 1, "queues": 5}, {}, {"queues": []}])
def test_bad_bodies(shared_server: Any, body: dict[str, Any]) -> None:
    extra = {"queue": "q"} if body.get("wait") == "x" else {}
    assert shared_server.failure("queues.get_next_task", **body, **extra) == (400, 12)


def test_a_task_that_is_queued_again_is_no_longer_claimed(shared_server: Any) -> None:
    queue = new_queue(shared_server)
    task, other = new_task(shared_server, queue), new_task(shared_server, queue)
    assert pop(shared_server, queue, claim="mine to return") == task
    shared_server.call("queues.add_task", queue=queue, task=task)
    assert pop(shared_server, queue, claim="mine to return") == other
    assert order(shared_server, queue) == [task]


def test_a_server_can_be_as_plain_as_others(tmp_path: Path) -> None:
    with running_server(tmp_path, extensions=()) as plain:
        auth = (plain.access_key, plain.secret_key)
        answers = [
            requests.post(f"{plain.api_url}/{name}", auth=auth, timeout=20) for name in ("auth.login", "server.info")
        ]
    token, info = (answer.json()["data"] for answer in answers)
    assert jwt.decode(token["token"], options={"verify_signature": False})["extensions"] == []
    assert info["extensions"] == []
