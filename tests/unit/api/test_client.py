"""What the typed calls put on the wire, and what they make of the answers."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from clearml_agent_clone.api import Client
from clearml_agent_clone.api.errors import InvalidRequest, NotFound, ServerBusy
from clearml_agent_clone.api.types import Entry, Queue, Requirements, TaskState, TaskStatus
from clearml_agent_clone.errors import Cancelled, UserError

from .conftest import ScriptedServer, SessionMaker, Time, fault, hang_up, hold, login, ok

ID = "0123456789abcdef0123456789abcdef"
OTHER = "f" * 32
BOTH = ["queues.get_next_task.wait", "queues.get_next_task.claim"]


@pytest.fixture
def client(new_session: SessionMaker) -> Client:
    return Client(new_session())


def _bodies(server: ScriptedServer, endpoint: str) -> list[Any]:
    return [seen.json for seen in server.calls(endpoint)]


# --- tasks -------------------------------------------------------------------------------------------------------


def test_get(server: ScriptedServer, client: Client) -> None:
    server.will("tasks.get_by_id", ok(task={"id": ID, "status": "queued", "execution": {"queue": "q"}}))
    task = client.tasks.get(ID)
    assert (task.id, task.status, task.queue) == (ID, TaskStatus.QUEUED, "q")


@pytest.mark.parametrize("answer", [fault(400, 101, "Invalid task id"), ok(), ok(task=None)])
def test_a_task_that_is_not_there(server: ScriptedServer, client: Client, answer: Any) -> None:
    server.will("tasks.get_by_id", answer)
    with pytest.raises(NotFound, match=f'there is no task "{ID}"') as caught:
        client.tasks.get(ID)
    assert caught.value.code == "task-not-found"


def test_other_refusals_stay_what_they_are(server: ScriptedServer, client: Client) -> None:
    server.will("tasks.get_by_id", fault(400, 12, "validation"))
    with pytest.raises(InvalidRequest, match="validation"):
        client.tasks.get(ID)


def test_find_by_name(server: ScriptedServer, client: Client) -> None:
    server.will("tasks.get_all", ok(tasks=[{"id": "1", "name": "train (x)"}, {"id": "2", "name": "train (x) 2"}]))
    server.will("tasks.get_by_id", ok(task={"id": "1"}))
    assert client.tasks.find("Train (X)").id == "1"
    assert _bodies(server, "tasks.get_all")[0]["name"] == r"(?i)Train\ \(X\)"


def test_find_suggests(server: ScriptedServer, client: Client) -> None:
    server.will("tasks.get_all", ok(tasks=[]), ok(tasks=[{"id": "1", "name": "training"}, {"id": "2", "name": "x"}]))
    with pytest.raises(NotFound, match='Did you mean "training"'):
        client.tasks.find("trainign")


def test_find_refuses_to_guess(server: ScriptedServer, client: Client) -> None:
    server.will("tasks.get_all", ok(tasks=[{"id": "1", "name": "a"}, {"id": "2", "name": "A"}]))
    with pytest.raises(UserError, match='2 tasks have the name "a": 1, 2') as caught:
        client.tasks.find("a")
    assert caught.value.code == "task-ambiguous"


def test_status(server: ScriptedServer, client: Client) -> None:
    runtime = {"_abort_callback_timeout": "30", "_abort_poll_freq": 15}
    server.will(
        "tasks.get_all",
        ok(tasks=[{"id": ID, "status": "in_progress", "status_message": "stopping", "runtime": runtime}]),
        ok(tasks=[]),
    )
    state = TaskState(ID, TaskStatus.IN_PROGRESS, "stopping", "", runtime)
    assert client.tasks.status(ID) == state
    assert client.tasks.status(ID) is None
    (body, _) = _bodies(server, "tasks.get_all")
    assert body["id"] == [ID]
    assert body["search_hidden"] is True
    assert {"status", "status_message", "runtime._abort_callback_timeout"} <= set(body["only_fields"])


def test_states_of_none_are_no_request(server: ScriptedServer, client: Client) -> None:
    assert client.tasks.states([]) == {}
    assert server.seen == []


def test_moves(server: ScriptedServer, client: Client) -> None:
    client.tasks.started(ID, reason="r", message="m", force=True)
    client.tasks.completed(ID, reason="r")
    client.tasks.failed(ID)
    client.tasks.stopped(ID)
    client.tasks.ping(ID)
    assert [(seen.endpoint, seen.json) for seen in server.seen[1:]] == [
        ("tasks.started", {"task": ID, "status_reason": "r", "status_message": "m", "force": True}),
        ("tasks.completed", {"task": ID, "status_reason": "r", "force": False}),
        ("tasks.failed", {"task": ID, "force": False}),
        ("tasks.stopped", {"task": ID, "force": False}),
        ("tasks.ping", {"task": ID}),
    ]


def test_queueing_and_copying(server: ScriptedServer, client: Client) -> None:
    server.will("tasks.dequeue", ok(updated=1), ok(updated=0))
    server.will("tasks.clone", ok(id=OTHER))
    client.tasks.enqueue(ID, "q")
    assert client.tasks.dequeue(ID, new_status="in_progress")
    assert not client.tasks.dequeue(ID)
    assert client.tasks.clone(ID, name="copy") == OTHER
    assert _bodies(server, "tasks.enqueue") == [{"task": ID, "queue": "q"}]
    assert _bodies(server, "tasks.dequeue") == [{"task": ID, "new_status": "in_progress"}, {"task": ID}]
    assert _bodies(server, "tasks.clone") == [{"task": ID, "new_task_name": "copy"}]


def test_edits(server: ScriptedServer, client: Client) -> None:
    client.tasks.edit(ID, script={"version_num": "abc"})
    client.tasks.set_requirements(ID, Requirements(pip="a==1", org_pip=""))
    assert _bodies(server, "tasks.edit") == [{"task": ID, "force": True, "script": {"version_num": "abc"}}]
    assert _bodies(server, "tasks.set_requirements") == [{"task": ID, "requirements": {"pip": "a==1", "org_pip": ""}}]


def test_runtime_is_edited_in_place_where_the_server_can(server: ScriptedServer, client: Client) -> None:
    client.tasks.set_runtime(ID, {"a": "1"}, remove=["b"])
    assert [seen.json for seen in server.seen[1:]] == [
        {"task": ID, "add_or_update": {"a": "1"}, "remove": ["b"], "force": True}
    ]


@pytest.mark.parametrize("level", ["2.33", "2.34"])
def test_runtime_is_read_and_replaced_where_it_cannot(server: ScriptedServer, client: Client, level: str) -> None:
    server.will("auth.login", login(api_version=level))
    server.usual["tasks.edit_runtime"] = fault(404, 0, "Unable to find endpoint")
    server.will("tasks.get_all", ok(tasks=[{"id": ID, "runtime": {"b": "2", "c": "3"}}]))
    client.tasks.set_runtime(ID, {"a": "1"}, remove=["b"])
    assert _bodies(server, "tasks.edit") == [{"task": ID, "force": True, "runtime": {"a": "1", "c": "3"}}]


# --- queues ------------------------------------------------------------------------------------------------------


def test_resolve_by_id(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[{"id": ID, "name": "gpu", "tags": ["t"]}]))
    assert client.queues.resolve(ID) == Queue(ID, "gpu", ("t",))


def test_a_name_that_looks_like_an_id(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[]), ok(queues=[{"id": "1", "name": ID}]))
    assert client.queues.resolve(ID).id == "1"


def test_resolve_by_name(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[{"id": "1", "name": "my gpu 2"}, {"id": "2", "name": "My GPU"}]))
    assert client.queues.resolve(" my gpu ").id == "2"
    (body,) = _bodies(server, "queues.get_all")
    assert (body["name"], body["search_hidden"]) == (r"(?i)my\ gpu", True)


def test_resolve_suggests(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[]), ok(queues=[{"id": "1", "name": "default"}, {"id": "2", "name": "x"}]))
    with pytest.raises(NotFound) as caught:
        client.queues.resolve("defualt")
    assert str(caught.value) == 'there is no queue "defualt". Did you mean "default"?'
    assert caught.value.code == "queue-not-found"


def test_resolve_lists_what_there_is(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[]), ok(queues=[{"id": "1", "name": "cpu"}]))
    with pytest.raises(NotFound, match="The server has: cpu; --create-queue makes one"):
        client.queues.resolve("something else")


def test_resolve_refuses_to_guess(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[{"id": "1", "name": "a"}, {"id": "2", "name": "A"}]))
    with pytest.raises(UserError, match='2 queues have the name "a": 1, 2'):
        client.queues.resolve("a")


def test_resolve_creates(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[]))
    server.will("queues.create", ok(id=ID))
    assert client.queues.resolve("new", create=True) == Queue(ID, "new")


def test_default(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_default", ok(id="1", name="default"), fault(400, 707, "none"))
    server.will("queues.get_all", ok(queues=[{"id": "2", "name": "default"}]))
    assert client.queues.default() == Queue("1", "default")
    assert client.queues.default() == Queue("2", "default")


def test_all_reads_every_page(server: ScriptedServer, client: Client) -> None:
    many = [{"id": str(number), "name": f"q{number}"} for number in range(501)]
    server.will("queues.get_all", ok(queues=many[:500]), ok(queues=many[500:]))
    assert len(client.queues.all()) == 501
    assert [body["page"] for body in _bodies(server, "queues.get_all")] == [0, 1]


def test_all_keeps_the_order_asked_for(server: ScriptedServer, client: Client) -> None:
    server.will("queues.get_all", ok(queues=[{"id": "1"}, {"id": "2"}]))
    assert [queue.id for queue in client.queues.all(["2", "gone", "1", "2"])] == ["2", "1"]
    assert client.queues.all([]) == []


def test_polling_asks_each_queue_once_in_order(server: ScriptedServer, client: Client, time: Time) -> None:
    server.will("queues.get_next_task", ok(), fault(400, 701, "no such queue"), ok(entry={"task": ID, "added": "then"}))
    assert not client.queues.waits
    assert client.queues.next(["a", "b", "c", "d"], wait=30.0, claim="x") == Entry(ID, "c", "then")
    assert _bodies(server, "queues.get_next_task") == [{"queue": "a"}, {"queue": "b"}, {"queue": "c"}]
    assert client.queues.next(["a", "b"]) is None
    assert client.queues.next([]) is None
    server.will("queues.get_next_task", fault(400, 701), ok())
    with pytest.raises(InvalidRequest):
        client.queues.next(["a", "b"])
    server.will("queues.get_next_task", fault(503))
    with pytest.raises(ServerBusy):
        client.queues.next(["a", "b"])
    assert time.waits == []


def test_waiting_asks_for_all_queues_at_once(server: ScriptedServer, client: Client) -> None:
    server.will("auth.login", login(extensions=BOTH))
    server.will("queues.get_next_task", ok(entry={"task": ID, "queue": "b"}), ok())
    assert client.queues.waits
    assert client.queues.next(["a", "b"], wait=25.0, claim="x") == Entry(ID, "b")
    assert client.queues.next(["a"]) is None
    assert _bodies(server, "queues.get_next_task") == [
        {"claim": "x", "queue": "a", "queues": ["a", "b"], "wait": 25.0},
        {"queue": "a", "queues": ["a"], "wait": 0.0},
    ]


def test_a_wait_is_interrupted(server: ScriptedServer, client: Client) -> None:
    server.will("auth.login", login(extensions=BOTH))
    begun, until = threading.Event(), threading.Event()
    server.will("queues.get_next_task", hold(begun, until))
    client.login()

    def interrupt() -> None:
        assert begun.wait(5)
        client.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Cancelled):
        client.queues.next(["a"], wait=60.0)
    until.set()
    thread.join()


# --- workers and events ------------------------------------------------------------------------------------------


def test_workers(server: ScriptedServer, client: Client) -> None:
    class Stats:
        def to_wire(self) -> dict[str, Any]:
            return {"cpu_usage": [1.0]}

    client.workers.register("w", ["q"], tags=["t"], timeout=60.0)
    client.workers.report("w", task=ID, queue="q", queues=["q"], stats=Stats(), tags=["t"], timestamp=12.7)
    client.workers.report("w", timestamp=13.0)
    client.workers.unregister("w", ["q"])
    server.will("workers.get_all", ok(workers=[{"id": "w", "task": {"id": ID}, "queues": [{"id": "q"}]}, 3]))
    (worker,) = client.workers.all()
    assert (worker.id, worker.task, worker.queues) == ("w", ID, ("q",))
    assert [seen.json for seen in server.seen[1:-1]] == [
        {"worker": "w", "queues": ["q"], "tags": ["t"], "timeout": 60},
        {
            "worker": "w",
            "timestamp": 12000,
            "machine_stats": {"cpu_usage": [1.0]},
            "task": ID,
            "queue": "q",
            "queues": ["q"],
            "tags": ["t"],
        },
        {"worker": "w", "timestamp": 13000, "machine_stats": None},
        {"worker": "w", "queues": ["q"]},
    ]


def test_logs(server: ScriptedServer, client: Client) -> None:
    client.events.add_log(ID, "w", "ä" * 70_000, level="ERROR", timestamp_ms=5)
    (seen,) = server.calls("events.add_batch")
    first, second = map(json.loads, seen.body.splitlines())
    assert first | {"msg": ""} == {
        "type": "log",
        "level": "ERROR",
        "task": ID,
        "worker": "w",
        "msg": "",
        "timestamp": 5,
    }
    assert first["msg"] + second["msg"] == "ä" * 70_000
    client.events.add_log(ID, "w", "")
    assert len(server.calls("events.add_batch")) == 1


def test_events_are_not_sent_twice_when_they_may_have_arrived(server: ScriptedServer, client: Client) -> None:
    from clearml_agent_clone.api.errors import ServerUnreachable

    client.login()
    server.will("events.add_batch", hang_up)
    with pytest.raises(ServerUnreachable) as caught:
        client.events.send([b"{}"])
    assert caught.value.may_have_acted
    assert len(server.calls("events.add_batch")) == 1
    server.will("events.add_batch", ok(added=1, errors=0, errors_info={}))
    assert client.events.send([b"{}"]) == {"added": 1, "errors": 0, "errors_info": {}}
