"""A task that an agent took is run, waits again, or is failed with a reason: never is it nowhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clearml_agent_clone.api import Client, ServerAccess, Session
from clearml_agent_clone.api.errors import ServerUnreachable
from clearml_agent_clone.server.embedded import running_server
from tests.helpers.fault_proxy import Fault, FaultProxy, Rule
from tests.helpers.worker_tools import FINAL, Agent, until

from .conftest import Server

pytestmark = pytest.mark.slow  # all together; one by one they take seconds


@pytest.fixture
def plain_server(tmp_path: Path) -> Iterator[Server]:
    """A server that knows neither claims nor waiting, as those of others."""
    with running_server(tmp_path / "plain", extensions=()) as embedded:
        handle = Server(embedded)
        yield handle
        handle.http.close()


@pytest.fixture
def proxy(plain_server: Server) -> Iterator[FaultProxy]:
    with FaultProxy(plain_server.api_url) as made:
        yield made


@pytest.fixture
def plain_agent(plain_server: Server, proxy: FaultProxy, tmp_path: Path) -> Iterator[Agent]:
    """An agent that polls once a second and reaches its server through a proxy that can lose things."""
    home = tmp_path / "plain home"
    home.mkdir()
    made = Agent(plain_server, home, _through(proxy))
    yield made
    made.close()


def _through(proxy: FaultProxy) -> dict[str, str]:
    return {"CLEARML_API_HOST": proxy.url, "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC": "1"}


def _entries(server: Server, queue: str) -> list[str]:
    return [entry["task"] for entry in server.call("queues.get_by_id", queue=queue)["queue"]["entries"]]


def _starts(proxy: FaultProxy, task: str) -> int:
    return len([call for call in proxy.of("tasks.started") if call.body["task"] == task])


# --- answers that get lost ---------------------------------------------------------------------------------------


def _ended(agent: Agent, task: str) -> dict[str, Any]:
    """The task at its end; the reconciler takes its time."""
    found: dict[str, Any] = until(lambda: (seen := agent.get(task))["status"] in FINAL and seen, 200)
    return found


def _holding_polls(proxy: FaultProxy) -> Rule:
    """No poll reaches the server until the rule is cancelled."""
    return proxy.on("queues.get_next_task", Fault.status(503), times=None)


def test_a_poll_that_may_have_arrived_is_not_sent_again_in_secret(plain_server: Server, proxy: FaultProxy) -> None:
    """Also not when a kept connection breaks, where other requests are: the reconciler has to hear of it."""
    with Client(Session(ServerAccess(proxy.url, plain_server.access_key, plain_server.secret_key))) as client:
        queue = client.queues.default().id
        assert client.queues.next([queue]) is None
        proxy.on("queues.get_next_task", Fault.LOSE_REPLY)
        with pytest.raises(ServerUnreachable) as caught:
            client.queues.next([queue])
        assert caught.value.may_have_acted
        assert len(proxy.of("queues.get_next_task")) == 2


@pytest.mark.timeout(300)
def test_a_task_whose_answer_was_lost_is_found_and_runs_once(plain_agent: Agent, proxy: FaultProxy) -> None:
    """The server knows no claims: the reconciler has to see that the task is in no queue."""
    plain_agent.daemon()
    hold = _holding_polls(proxy)
    task = plain_agent.enqueue(plain_agent.task())
    proxy.on("queues.get_next_task", Fault.LOSE_REPLY)
    hold.cancel()
    until(lambda: task not in _entries(plain_agent.server, plain_agent.queue()))
    assert plain_agent.get(task)["status"] == "queued"
    other = plain_agent.enqueue(plain_agent.task())
    assert plain_agent.final(other)["status"] == "completed", "the worker goes on meanwhile"
    assert _ended(plain_agent, task)["status"] == "completed"
    assert _starts(proxy, task) == 1
    assert "never arrived; it is put back to the head" in plain_agent.log()


@pytest.mark.timeout(300)
def test_a_daemon_that_was_killed_while_it_polled_looks_for_the_task_when_it_comes_back(
    plain_agent: Agent, proxy: FaultProxy
) -> None:
    daemon = plain_agent.daemon()
    hold = _holding_polls(proxy)
    task = plain_agent.enqueue(plain_agent.task())
    proxy.on("queues.get_next_task", Fault.run(lambda _: daemon.kill(), "after"))
    hold.cancel()
    daemon.wait(60)
    assert _entries(plain_agent.server, plain_agent.queue()) == []
    plain_agent.daemon()
    assert _ended(plain_agent, task)["status"] == "completed"
    assert _starts(proxy, task) == 1


@pytest.mark.timeout(300)
def test_two_agents_that_look_for_a_task_run_it_once(plain_agent: Agent, proxy: FaultProxy) -> None:
    for _ in range(2):
        plain_agent.daemon()
    hold = _holding_polls(proxy)
    task = plain_agent.enqueue(plain_agent.task("import time\ntime.sleep(5)\nprint('ran')\n"))
    lost = proxy.on("queues.get_next_task", Fault.LOSE_REPLY, times=2)
    hold.cancel()
    until(lambda: lost.hits == 2)
    assert _ended(plain_agent, task)["status"] == "completed"
    assert _starts(proxy, task) == 1
    assert plain_agent.console(task).count("ran\n") == 1
    assert (plain_agent.log(0) + plain_agent.log(1)).count("put back to the head") == 1


# --- tasks that cannot be started --------------------------------------------------------------------------------


def _block(agent: Agent) -> None:
    """From now on no run can be written down: a file is where their folder should be."""
    (agent.state / "runs").rename(agent.state / "runs.away")
    (agent.state / "runs").touch()


def _unblock(agent: Agent) -> None:
    (agent.state / "runs").unlink()
    (agent.state / "runs.away").rename(agent.state / "runs")


@pytest.mark.parametrize("plain", [True, False])
def test_a_task_that_cannot_be_written_down_goes_back_and_runs_when_it_can(
    request: pytest.FixtureRequest, plain: bool
) -> None:
    agent: Agent = request.getfixturevalue("plain_agent" if plain else "agent")
    agent.daemon()
    queue = agent.queue()
    later = agent.task()
    _block(agent)
    task = agent.enqueue(agent.task())
    until(lambda: "could not be taken on" in agent.log())
    agent.enqueue(later)
    assert _entries(agent.server, queue) == [task, later], "it is the first again"
    assert agent.get(task)["status"] == "queued"
    _unblock(agent)
    assert agent.final(task)["status"] == "completed"
    assert agent.final(later)["status"] == "completed"
    assert agent.log().count("could not be taken on") == 1
    assert "Traceback" not in agent.log()


def test_it_fails_with_the_reason_if_that_is_what_the_user_wants(agent: Agent) -> None:
    agent.variables = {"CLEARML_AGENT__AGENT__ON_START_FAILURE": "fail"}
    agent.daemon()
    _block(agent)
    seen = agent.final(agent.enqueue(agent.task()))
    assert seen["status"] == "failed"
    assert seen["status_reason"].startswith("the agent could not start it: ")
    assert "is not a directory" in seen["status_reason"]


@pytest.fixture
def breakable(agent: Agent, tmp_path: Path) -> tuple[Agent, Path]:
    """An agent whose interpreter can be taken away; runners cannot be started as programs then."""
    real = Path(sys.prefix)
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    shutil.copy(real / "pyvenv.cfg", folder)
    (folder / "lib").symlink_to(real / "lib")
    python = folder / "bin" / "python"
    python.symlink_to(os.path.realpath(sys.executable))
    agent.python = str(python)
    return agent, python


def _nursery_of(daemon: int) -> int:
    children = Path(f"/proc/{daemon}/task/{daemon}/children").read_text().split()
    return next(int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().strip() == "clearml-nursery")


def test_a_task_for_which_no_runner_starts_goes_back_and_another_agent_runs_it(breakable: tuple[Agent, Path]) -> None:
    agent, python = breakable
    daemon = agent.daemon()
    os.kill(_nursery_of(daemon.pid), 9)
    target = python.readlink()
    python.unlink()
    task = agent.enqueue(agent.task())
    until(lambda: "no runner could be started" in agent.log())
    until(lambda: _entries(agent.server, agent.queue()) == [task])
    assert "no task is taken for 5 s" in agent.log()
    until(lambda: list((agent.state / "runs").iterdir()) == [])
    python.symlink_to(target)
    agent.daemon()
    assert agent.final(task)["status"] == "completed"


def test_a_runner_that_dies_at_once_is_no_endless_loop(agent: Agent) -> None:
    """The configuration is broken after the daemon has read it: every runner dies on it."""
    conf = agent.home / "broken.conf"
    conf.write_text(Path(str(agent.server.conf)).read_text())
    agent.variables = {"CLEARML_CONFIG_FILE": str(conf)}
    agent.daemon()
    good = conf.read_text()
    conf.write_text("api { broken")
    task = agent.enqueue(agent.task())
    until(lambda: "the agent could not start it" in agent.log())
    until(lambda: _entries(agent.server, agent.queue()) == [task])
    assert "is never closed" in agent.log()
    conf.write_text(good)
    assert agent.final(task)["status"] == "completed"
    assert agent.log().count(f"task {task} taken from queue") == 2


# --- tasks that must not be run ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["stopped", "started", "reset", "failed", "published"])
def test_what_was_changed_between_queue_and_runner_is_not_run_and_the_next_is(
    plain_agent: Agent, proxy: FaultProxy, change: str
) -> None:
    def meanwhile(call: Any) -> None:
        del call
        for step in {"published": ("started", "completed", "publish")}.get(change, (change,)):
            plain_agent.server.call(f"tasks.{step}", task=task, force=True)

    task = plain_agent.task("print('must not run')\n")
    proxy.on("tasks.get_by_id", Fault.run(meanwhile, "before", cut=False))
    plain_agent.enqueue(task)
    plain_agent.daemon()
    after = plain_agent.enqueue(plain_agent.task())
    assert plain_agent.final(after)["status"] == "completed"
    expected = {"started": "in_progress", "reset": "created"}.get(change, change)
    assert plain_agent.get(task)["status"] == expected
    assert plain_agent.console(task) == ""
    assert plain_agent.log().count("taken from queue") == 2


# --- queues that come and go -------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [True, False])
def test_a_deleted_queue_does_not_disturb_the_others(request: pytest.FixtureRequest, plain: bool) -> None:
    agent: Agent = request.getfixturevalue("plain_agent" if plain else "agent")
    agent.daemon("--queue", "first", "second", "--create-queue")
    agent.server.call("queues.delete", queue=agent.queue("first"))
    until(lambda: 'queue "first"' in agent.log())
    assert agent.final(agent.enqueue(agent.task(), "second"))["status"] == "completed"
    assert agent.log().count("does not exist any more") == 1


def test_a_queue_that_is_made_again_is_listened_to(agent: Agent) -> None:
    agent.daemon("--queue", "only", "--create-queue")
    agent.server.call("queues.delete", queue=agent.queue("only"))
    until(lambda: "does not exist any more" in agent.log())
    task = agent.enqueue(agent.task(), "only")
    assert agent.final(task)["status"] == "completed"
    assert 'queue "only"' in agent.log()
