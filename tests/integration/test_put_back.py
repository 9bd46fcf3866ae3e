"""A task that was taken goes back to the head of its queue, whatever it is by then."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from clearml_agent_clone.api import Client, Retry, ServerAccess, Session
from clearml_agent_clone.api.errors import ServerUnreachable
from clearml_agent_clone.api.put_back import Place, PutBack, rescue
from clearml_agent_clone.api.session import ONE_TIME

from .conftest import Server

REASON = "agent could not start it"


@pytest.fixture
def client(shared_server: Server) -> Iterator[Client]:
    access = ServerAccess(shared_server.api_url, shared_server.access_key, shared_server.secret_key)
    with Client(Session(access)) as client:
        yield client


@pytest.fixture
def server(shared_server: Server) -> Server:
    return shared_server


@pytest.fixture
def queue(server: Server) -> str:
    """A queue in which another task waits."""
    made = str(server.call("queues.create", name=f"q {uuid.uuid4().hex}")["id"])
    server.call("tasks.enqueue", task=_task(server), queue=made)
    return made


def _task(server: Server) -> str:
    return str(server.call("tasks.create", name="a task", type="training")["id"])


def _entries(server: Server, queue: str) -> list[str]:
    return [entry["task"] for entry in server.call("queues.get_by_id", queue=queue)["queue"]["entries"]]


def _get(server: Server, task: str) -> dict[str, Any]:
    found: dict[str, Any] = server.call("tasks.get_by_id", task=task)["task"]
    return found


def _taken(server: Server, queue: str) -> str:
    """A task that was popped: queued, but in no queue."""
    task = _task(server)
    server.call("tasks.enqueue", task=task, queue=queue)
    server.call("queues.move_task_to_front", task=task, queue=queue)
    assert server.call("queues.get_next_task", queue=queue)["entry"]["task"] == task
    return task


def _into(server: Server, task: str, status: str) -> None:
    steps = {
        "queued": (),
        "in_progress": ("started",),
        "stopped": ("started", "stopped"),
        "failed": ("started", "failed"),
        "created": ("dequeue",),
        "completed": ("started", "completed"),
        "published": ("started", "completed", "publish"),
    }
    for step in steps[status]:
        server.call(f"tasks.{step}", task=task)
    assert _get(server, task)["status"] == status


@pytest.mark.parametrize("status", ["queued", "in_progress", "stopped", "failed", "created"])
def test_it_waits_at_the_head_again(server: Server, client: Client, queue: str, status: str) -> None:
    task = _taken(server, queue)
    server.call("tasks.edit_runtime", task=task, add_or_update={"kept": "yes"}, force=True)
    _into(server, task, status)
    for _ in range(2):  # safe to repeat
        assert client.tasks.put_back(task, queue, reason=REASON)
        assert _entries(server, queue)[0] == task
        assert len(_entries(server, queue)) == 2
        seen = _get(server, task)
        assert (seen["status"], seen["execution"]["queue"]) == ("queued", queue)
        assert seen["runtime"]["kept"] == "yes"
        assert seen["status_reason"] == (REASON if status != "queued" else "")
    server.call("tasks.dequeue", task=task)
    assert _get(server, task)["status"] in {"created", "stopped", "failed"}, "taken out by hand, it must not be queued"


@pytest.mark.parametrize("status", ["completed", "published"])
def test_what_has_ended_stays(server: Server, client: Client, queue: str, status: str) -> None:
    task = _taken(server, queue)
    _into(server, task, status)
    assert not client.tasks.put_back(task, queue)
    assert _get(server, task)["status"] == status
    assert task not in _entries(server, queue)


@pytest.mark.parametrize("status", ["queued", "in_progress", "stopped"])
def test_a_queue_that_is_gone_is_said(server: Server, client: Client, status: str) -> None:
    queue = str(server.call("queues.create", name=f"q {uuid.uuid4().hex}")["id"])
    task = _taken(server, queue)
    _into(server, task, status)
    server.call("queues.delete", queue=queue)
    assert not client.tasks.put_back(task, queue)


def test_a_task_that_is_gone_is_said(server: Server, client: Client, queue: str) -> None:
    task = _taken(server, queue)
    server.call("tasks.delete", task=task, force=True)
    assert not client.tasks.put_back(task, queue)


def test_a_task_that_somebody_moved_stays_there(server: Server, client: Client, queue: str) -> None:
    task = _taken(server, queue)
    other = str(server.call("queues.create", name=f"q {uuid.uuid4().hex}")["id"])
    server.call("tasks.dequeue", task=task)
    server.call("tasks.enqueue", task=task, queue=other)
    assert client.tasks.put_back(task, queue)
    assert _entries(server, other) == [task]
    assert task not in _entries(server, queue)


class Lossy:
    """A session whose answer to one kind of call gets lost, once: the server has acted, or has not."""

    def __init__(self, session: Session, endpoint: str, *, arrives: bool, then: Any = None) -> None:
        self._session = session
        self._endpoint = endpoint
        self._arrives = arrives
        self._then = then

    def call(
        self, endpoint: str, body: Mapping[str, Any] | None = None, *, retry: Retry | None = None
    ) -> dict[str, Any]:
        if endpoint != self._endpoint:
            return self._session.call(endpoint, body, retry=retry)
        self._endpoint = ""
        if self._arrives:
            self._session.call(endpoint, body, retry=retry)
        if self._then is not None:
            self._then()
        if endpoint in ONE_TIME:
            raise ServerUnreachable("lost", may_have_acted=True)
        return self._session.call(endpoint, body, retry=retry)  # as a session repeats it


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("status", ["queued", "in_progress", "stopped", "failed", "created"])
@pytest.mark.parametrize(
    "endpoint", ["queues.add_task", "tasks.enqueue", "tasks.dequeue", "queues.move_task_to_front", "tasks.get_all"]
)
def test_a_lost_answer_changes_nothing(
    server: Server, client: Client, queue: str, endpoint: str, status: str, *, arrives: bool
) -> None:
    task = _taken(server, queue)
    _into(server, task, status)
    lossy = Lossy(client.session, endpoint, arrives=arrives)
    assert PutBack(lossy, task, queue, wait=lambda _: None).run()
    assert _entries(server, queue)[0] == task
    assert len(_entries(server, queue)) == 2
    assert _get(server, task)["status"] == "queued"


@pytest.mark.parametrize(("endpoint", "status"), [("queues.add_task", "queued"), ("tasks.enqueue", "in_progress")])
@pytest.mark.parametrize("at_once", [True, False])
def test_a_task_that_was_taken_before_the_answer_got_lost_is_not_added_again(
    server: Server, client: Client, queue: str, endpoint: str, status: str, *, at_once: bool
) -> None:
    task = _taken(server, queue)
    _into(server, task, status)
    first = _entries(server, queue)[0]

    def start() -> None:
        server.call("tasks.started", task=task)

    def take() -> None:
        server.call("queues.move_task_to_front", task=task, queue=queue)
        assert server.call("queues.get_next_task", queue=queue)["entry"]["task"] == task
        if at_once:
            start()

    lossy = Lossy(client.session, endpoint, arrives=True, then=take)
    assert PutBack(lossy, task, queue, wait=lambda _: start()).run()
    assert _entries(server, queue) == [first]


def _seen(client: Client, task: str) -> Place:
    return next(place for place in client.tasks.queued() if place.task == task)


@pytest.mark.parametrize("lost", [None, True, False])
def test_of_two_agents_one_rescues(server: Server, client: Client, queue: str, *, lost: bool | None) -> None:
    task = _taken(server, queue)
    seen = _seen(client, task)
    caller = client.session if lost is None else Lossy(client.session, "tasks.dequeue", arrives=lost)
    assert rescue(caller, seen, reason="lost", message="first")
    assert _entries(server, queue)[0] == task
    assert not client.tasks.rescue(seen, reason="lost", message="second"), "it waits"
    assert server.call("queues.get_next_task", queue=queue)["entry"]["task"] == task
    assert not client.tasks.rescue(seen, reason="lost", message="second"), "another worker has it"
    assert task not in _entries(server, queue)


def test_the_other_agent_may_be_in_the_middle_of_it(server: Server, client: Client, queue: str) -> None:
    task = _taken(server, queue)
    seen = _seen(client, task)
    client.tasks.dequeue(task, new_status="created", message="first")
    assert not client.tasks.rescue(seen, reason="lost", message="second")
    assert client.tasks.half_rescued(task, "first")
    assert not client.tasks.half_rescued(task, "second")


@pytest.mark.parametrize(
    ("status", "worker", "failed"),
    [("queued", "", True), ("in_progress", "me", True), ("in_progress", "other", False), ("completed", "me", False)],
)
def test_only_what_is_ours_is_failed(
    server: Server, client: Client, queue: str, status: str, worker: str, *, failed: bool
) -> None:
    task = _taken(server, queue)
    _into(server, task, status)
    if worker:
        server.call("workers.status_report", worker=worker, task=task, timestamp=1)
    assert client.tasks.fail_taken(task, "me", reason=REASON) is failed
    seen = _get(server, task)
    assert (seen["status"], seen["status_reason"]) == (("failed", REASON) if failed else (status, ""))


def test_what_waits_again_is_not_failed(server: Server, client: Client, queue: str) -> None:
    task = _taken(server, queue)
    client.tasks.put_back(task, queue)
    assert not client.tasks.fail_taken(task, "me", reason=REASON)
    assert client.queues.waiting(queue)[0] == task
