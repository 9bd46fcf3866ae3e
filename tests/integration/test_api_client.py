"""The client and the embedded server, over real HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_agent_clone.api import Client, Retry, ServerAccess, Session
from clearml_agent_clone.api.calls_events import log_line
from clearml_agent_clone.api.errors import (
    CredentialsRefused,
    EndpointMissing,
    InvalidRequest,
    NotClearML,
    NotFound,
    ServerUnreachable,
    Subcode,
)
from clearml_agent_clone.api.session import ONCE
from clearml_agent_clone.api.types import Queue, Requirements, TaskStatus
from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.monitoring import new_sampler
from clearml_agent_clone.server.embedded import running_server

from .conftest import Server


def _client(server: Server, **options: Any) -> Client:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    return Client(Session(ServerAccess(**{"url": server.api_url, **keys, **options}), host_name="test-host"))


@pytest.fixture
def client(shared_server: Server) -> Iterator[Client]:
    with _client(shared_server) as client:
        yield client


@pytest.fixture
def server(shared_server: Server) -> Server:
    """The shared one is enough here: every test minds its own objects."""
    return shared_server


def _task(server: Server, **fields: Any) -> str:
    return str(server.call("tasks.create", name="a task", type="training", **fields)["id"])


def _queue(server: Server, name: str) -> str:
    return str(server.call("queues.create", name=name)["id"])


# --- logging in --------------------------------------------------------------------------------------------------


def test_what_the_server_tells(server: Server, client: Client) -> None:
    info = client.login()
    assert info.speaks(2, 34)
    assert info.extensions >= {"queues.get_next_task.wait", "queues.get_next_task.claim"}
    assert info.user == server.call("users.get_current_user")["user"]["id"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_every_method(server: Server, method: str) -> None:
    task = _task(server)
    with _client(server, method=method) as client:
        assert client.tasks.get(task).id == task


def test_a_token_is_as_good_as_a_key_pair(server: Server, client: Client) -> None:
    with _client(server, token=client.session.token, access_key="", secret_key="") as other:
        assert other.login().user == client.login().user
    with _client(server, token="not.a.token") as other, pytest.raises(CredentialsRefused, match="401/30"):
        other.login()


def test_a_wrong_secret(server: Server) -> None:
    with _client(server, secret_key="wrong") as client, pytest.raises(CredentialsRefused, match="401/22"):
        client.login()


def test_short_tokens_are_renewed_in_time(server: Server) -> None:
    now = [time.time()]
    access = ServerAccess(server.api_url, server.access_key, server.secret_key, requested_lifetime=60)
    with Session(access, clock=lambda: now[0]) as session:
        first = session.token
        now[0] += 29
        assert session.token == first
        now[0] += 3
        assert session.token != first


def test_the_web_and_files_ports_are_not_the_api(server: Server) -> None:
    for url in (server.web_url, server.files_url):
        with _client(server, url=url) as client, pytest.raises(NotClearML):
            client.login(retry=ONCE)


def test_a_call_that_the_server_does_not_have(client: Client) -> None:
    with pytest.raises(EndpointMissing):
        client.session.call("workers.no_such_call", {"worker": "w"})


# --- tasks -------------------------------------------------------------------------------------------------------


def test_the_life_of_a_task(server: Server, client: Client) -> None:
    tasks, queue = client.tasks, _queue(server, "life")
    script = {"repository": "r", "entry_point": "a.py", "diff": "d", "requirements": {"pip": "x\n"}}
    original = _task(server, script=script)
    task = tasks.clone(original, name="a copy")
    tasks.enqueue(task, queue, reason="because")
    with pytest.raises(InvalidRequest) as caught:
        tasks.enqueue(task, queue)
    assert caught.value.is_about(Subcode.ALREADY_QUEUED)
    assert tasks.get(task).status is TaskStatus.QUEUED
    assert tasks.dequeue(task, new_status="in_progress")
    tasks.started(task, reason="r", message="m")
    tasks.ping(task)
    state = tasks.status(task)
    assert state is not None
    assert (state.status, state.status_reason, state.status_message) == (TaskStatus.IN_PROGRESS, "r", "m")
    tasks.edit(task, script={"version_num": "abc"})
    tasks.set_requirements(task, Requirements(pip="x==1\n", org_pip="x\n"))
    read = tasks.get(task)
    assert (read.name, read.script.version_num, read.script.repository) == ("a copy", "abc", "r")
    assert (read.script.requirements.pip, read.script.requirements.org_pip) == ("x==1\n", "x\n")
    tasks.completed(task, reason="done")
    with pytest.raises(InvalidRequest) as caught:
        tasks.failed(task)
    assert caught.value.is_about(Subcode.STATUS_FORBIDS)
    tasks.failed(task, force=True)
    tasks.stopped(task)
    assert tasks.get(task).status is TaskStatus.STOPPED
    assert not tasks.dequeue(task)
    server.call("tasks.delete", task=task, force=True)
    assert tasks.status(task) is None
    with pytest.raises(NotFound):
        tasks.get(task)


@pytest.mark.parametrize("cap", [None, (2, 23)])
def test_runtime_values(server: Server, cap: tuple[int, int] | None) -> None:
    task = _task(server)
    server.call("tasks.edit", task=task, force=True, runtime={"kept": "1", "gone": "2"})
    with _client(server, max_api_version=cap) as client:
        client.tasks.set_runtime(task, {"new": "3"}, remove=["gone"])
        assert client.tasks.get(task).runtime == {"kept": "1", "new": "3"}


def test_what_an_abort_callback_registers_is_seen(server: Server, client: Client) -> None:
    task = _task(server)
    client.tasks.set_runtime(task, {"_abort_callback_timeout": "30", "_abort_poll_freq": "15", "other": "x"})
    state = client.tasks.status(task)
    assert state is not None
    assert state.runtime == {"_abort_callback_timeout": "30", "_abort_poll_freq": "15"}
    other = _task(server)
    assert set(client.tasks.states([task, other, "0" * 32])) == {task, other}


def test_tasks_by_name(server: Server, client: Client) -> None:
    task = server.call("tasks.create", name="Ünique (name)", type="training")["id"]
    assert client.tasks.find("ünique (NAME)").id == task
    assert client.tasks.find(task).id == task
    with pytest.raises(NotFound, match=r'Did you mean "Ünique \(name\)"'):
        client.tasks.find("Ünique (nam)")


# --- queues ------------------------------------------------------------------------------------------------------


def test_finding_queues(server: Server, client: Client) -> None:
    queue = _queue(server, "My GPU queue")
    assert client.queues.resolve("my gpu QUEUE") == Queue(queue, "My GPU queue")
    assert client.queues.resolve(queue) == Queue(queue, "My GPU queue")
    with pytest.raises(NotFound, match='Did you mean "My GPU queue"'):
        client.queues.resolve("my gpu quue")
    made = client.queues.resolve("a new one", create=True)
    assert client.queues.resolve("a new one") == made
    assert client.queues.default().name == "default"
    assert [found.id for found in client.queues.all([made.id, queue, "0" * 32])] == [made.id, queue]
    assert {queue, made.id} <= {found.id for found in client.queues.all()}


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name for a queue that no other test has."""
    return str(request.node.name)


@pytest.fixture(params=["waiting", "polling"])
def either(request: pytest.FixtureRequest, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client that uses the server's extensions, and one that acts as if there were none."""
    with _client(server) as client:
        if request.param == "polling":
            import attrs

            plain = attrs.evolve(client.server, extensions=frozenset())
            monkeypatch.setattr(Session, "server", plain)
        yield client


def test_taking_tasks_by_priority(server: Server, either: Client, name: str) -> None:
    first, second = _queue(server, f"{name} 1"), _queue(server, f"{name} 2")
    low, high = _task(server), _task(server)
    either.tasks.enqueue(low, second)
    either.tasks.enqueue(high, first)
    queues = [first, second]
    entry = either.queues.next(queues)
    assert entry is not None
    assert (entry.task, entry.queue) == (high, first)
    assert entry.added
    server.call("queues.delete", queue=first)
    entry = either.queues.next(queues[1:])
    assert entry is not None
    assert (entry.task, entry.queue) == (low, second)
    with pytest.raises(InvalidRequest):  # the caller is to know
        either.queues.next(queues)


def test_a_wait_ends_when_a_task_comes(server: Server, client: Client) -> None:
    queue, task = _queue(server, "wait"), _task(server)
    assert client.queues.waits
    found: list[tuple[str, float]] = []

    def wait() -> None:
        entry = client.queues.next([queue], wait=20.0, claim="c1")
        found.append((entry.task if entry else "", time.monotonic()))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)  # let the call reach the server; it works without, but then nothing waits
    begin = time.monotonic()
    with _client(server) as other:
        other.tasks.enqueue(task, queue)
    thread.join(5)
    assert found[0][0] == task
    assert found[0][1] - begin < 1.0


def test_a_claim_brings_the_same_task_again(server: Server, client: Client) -> None:
    queue, one, two = _queue(server, "claims"), _task(server), _task(server)
    client.tasks.enqueue(one, queue)
    client.tasks.enqueue(two, queue)
    entries = [client.queues.next([queue], claim=claim) for claim in ("k1", "k1", "k2")]
    assert [entry.task if entry else "" for entry in entries] == [one, one, two]


@pytest.mark.parametrize("how", ["interrupt", "stop"])
def test_a_wait_is_given_up_at_once_and_loses_no_task(server: Server, how: str) -> None:
    queue, task, stop = _queue(server, f"given up by {how}"), _task(server), threading.Event()
    access = ServerAccess(server.api_url, server.access_key, server.secret_key)
    with Client(Session(access, stop=stop)) as client:
        client.login()
        ended: list[float] = []

        def wait() -> None:
            with pytest.raises(Cancelled):
                client.queues.next([queue], wait=20.0)
            ended.append(time.monotonic())

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.2)
        begin = time.monotonic()
        if how == "stop":
            stop.set()
        else:
            client.interrupt()
        thread.join(5)
        assert ended[0] - begin < 0.3
        client.tasks.enqueue(task, queue)
    with _client(server) as other:
        entry = other.queues.next([queue], wait=5.0)
        assert entry is not None
        assert entry.task == task


# --- workers and events ------------------------------------------------------------------------------------------


def test_workers(server: Server, client: Client) -> None:
    queue, task = _queue(server, "workers"), _task(server)
    client.tasks.started(task)
    client.workers.register("host:7", [queue], tags=["t"], timeout=60)
    client.workers.report("host:7", task=task, queue=queue, queues=[queue], stats=new_sampler(visible="none").take())
    worker = next(worker for worker in client.workers.all() if worker.id == "host:7")
    assert (worker.task, worker.queues) == (task, (queue,))
    assert worker.record["tags"] == ["t"]
    assert client.tasks.get(task).last_worker == "host:7"
    client.workers.unregister("host:7", [queue])
    assert all(worker.id != "host:7" for worker in client.workers.all())


def test_console_lines_arrive_in_order_over_several_requests(server: Server) -> None:
    task = _task(server)
    with _client(server, max_request_size=2000) as client:
        acknowledged: list[int] = []
        lines = [log_line(task, "w", f"line {number}", timestamp_ms=1000 + number) for number in range(100)]
        answer = client.events.send(lines, acknowledged=acknowledged.append)
        assert answer["added"] == 100
        assert len(acknowledged) > 2
        assert sum(acknowledged) == 100
        client.events.add_log(task, "w", "the end", level="ERROR", timestamp_ms=2000)
    events = server.call("events.get_task_log", task=task, navigate_earlier=False, batch_size=200)["events"]
    assert [event["msg"] for event in events] == [*(f"line {number}" for number in range(100)), "the end"]
    assert events[-1]["level"].lower() == "error"


def test_events_of_a_task_that_is_gone(client: Client) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.events.add_log("0" * 32, "w", "text")
    assert caught.value.is_about(Subcode.NO_EVENT_ADDED)


# --- a server that goes away -------------------------------------------------------------------------------------


def test_a_session_outlives_its_server(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as embedded:
        port = int(embedded.api_url.rpartition(":")[2])
        access = ServerAccess(embedded.api_url, embedded.access_key, embedded.secret_key)
        client = Client(Session(access))
        task = str(client.session.call("tasks.create", {"name": "task", "type": "training"})["id"])
    with pytest.raises(ServerUnreachable) as caught:
        client.tasks.ping(task, retry=Retry(attempts=3))
    assert caught.value.code == "connection-refused"
    with running_server(tmp_path / "data", api_port=port):
        assert client.tasks.get(task).id == task
    client.close()
