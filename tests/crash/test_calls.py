"""Every call of a task's life: lost on the way there, lost on the way back, with the caller killed or alive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.server.embedded import running_server
from tests.crash import lives
from tests.crash.points import AGENT, calls
from tests.crash.yard import Yard
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.faults import Call, Fault
from tests.integration.conftest import Server

pytestmark = pytest.mark.crash

POP = "queues.get_next_task"


def of_role(role: str, endpoint: str, call: Call) -> bool:
    """Whether it is that call of that role; daemon and runner both report a worker."""
    if call.endpoint != endpoint:
        return False
    if endpoint != "workers.status_report":
        return True
    queues = isinstance(call.body, dict) and bool(call.body.get("queues"))
    return queues == (role == "daemon")


@pytest.mark.parametrize(
    ("dying", "fate"),
    [
        ("nobody", "request lost"),
        ("nobody", "reply lost"),
        ("the caller", "reply lost"),  # killed before it asks: that is a point of test_points.py
        ("all", "reply lost"),
        pytest.param("all", "request lost", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("role", "endpoint"), calls())
def test_a_lost_call_loses_nothing(yard: Yard, role: str, endpoint: str, dying: str, fate: str) -> None:
    life = lives.cold if (role, endpoint) == ("runner", "tasks.edit") else lives.warm
    first, second = life(yard)
    killed = () if dying == "nobody" else (role,) if dying == "the caller" else AGENT
    fault = Fault.run(lambda _: yard.kill(*killed), "before" if fate == "request lost" else "after")
    rule = yard.proxy.on(lambda call: of_role(role, endpoint, call), fault)
    yard.disarm()
    yard.enqueue(first, second)
    seen, after = yard.final(first, second)
    assert rule.hits == 1
    wrong = [*yard.judge(seen, killed), *yard.judge(after), *yard.settled()]
    if after["started"] < seen["completed"]:
        wrong.append("the second task was started before the first had ended")
    assert not wrong, "\n".join([*wrong, yard.words()])


@pytest.fixture
def plain_yard(tmp_path: Path) -> Iterator[Yard]:
    """A daemon that talks to a server without extensions: polls at intervals, and no claims."""
    with running_server(tmp_path / "server", extensions=()) as embedded, FaultProxy(embedded.api_url) as proxy:
        server = Server(embedded)
        yard = Yard.open(server, proxy, tmp_path / "yard", CLEARML_AGENT_QUEUE_POLL_FREQ_SEC="0.3")
        yard.up()
        yield yard
        yard.close()
        server.http.close()


@pytest.mark.parametrize("dying", ["nobody", "the caller", "all"])
def test_a_plain_server_loses_nothing_when_the_request_is_lost(plain_yard: Yard, dying: str) -> None:
    yard = plain_yard
    killed = {"nobody": (), "the caller": ("daemon",), "all": AGENT}[dying]
    rule = yard.proxy.on(POP, Fault.run(lambda _: yard.kill(*killed), "before"))
    task = yard.task(lines=3)
    yard.enqueue(task)
    (seen,) = yard.final(task)
    assert rule.hits == 1
    wrong = [*yard.judge(seen), *yard.settled()]
    assert not wrong, "\n".join([*wrong, yard.words()])


@pytest.mark.slow  # the task must be seen in no queue for a minute, or it might just be on its way to another worker
@pytest.mark.timeout(300)
@pytest.mark.parametrize("dying", ["nobody", "the caller", "all"])
def test_a_plain_server_loses_nothing_when_the_reply_is_lost(plain_yard: Yard, dying: str) -> None:
    yard = plain_yard
    killed = {"nobody": (), "the caller": ("daemon",), "all": AGENT}[dying]
    task = yard.task(lines=3)
    rule = yard.proxy.on(_brings_a_task(yard, task), Fault.run(lambda _: yard.kill(*killed), "after"))
    yard.enqueue(task)
    (seen,) = yard.final(task, patience=200.0)
    assert rule.hits == 1
    wrong = [*yard.judge(seen), *yard.settled()]
    assert not wrong, "\n".join([*wrong, yard.words()])


def _brings_a_task(yard: Yard, task: str) -> Callable[[Call], bool]:
    return lambda call: call.endpoint == POP and yard.agent.get(task)["status"] == "queued"
