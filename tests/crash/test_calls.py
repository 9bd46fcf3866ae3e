"""Every call of a task's life: lost on the way there, lost on the way back, with the caller killed or alive."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clearml_agent_clone.server import auth
from tests.crash import lives
from tests.crash.conftest import Yards
from tests.crash.points import AGENT, known_events
from tests.crash.yard import Yard
from tests.helpers.faults import Call, Fault

pytestmark = pytest.mark.crash

POP = "queues.get_next_task"
CALLS = sorted(
    {
        (event.role, event.name.removeprefix("call "))
        for event in known_events()
        if event.life in {"warm", "cold"} and event.name.startswith("call ")
    }
)


def of_role(role: str, endpoint: str, call: Call) -> bool:
    """Whether it is that call of that role; daemon and runner both report a worker."""
    if call.endpoint != endpoint:
        return False
    if endpoint != "workers.status_report":
        return True
    queues = isinstance(call.body, dict) and bool(call.body.get("queues"))
    return queues == (role == "daemon")


@pytest.mark.parametrize("fate", ["request lost", "reply lost"])
@pytest.mark.parametrize("dying", ["nobody", "the caller", "all"])
@pytest.mark.parametrize(("role", "endpoint"), CALLS)
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
def plain_yard(yards: Yards, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    """A daemon that talks to a server without extensions: polls at intervals, and no claims."""
    yards.drop()
    monkeypatch.setattr(auth, "EXTENSIONS", ())
    yard = yards.get(CLEARML_AGENT_QUEUE_POLL_FREQ_SEC="0.3")
    yard.up()
    yield yard
    yards.proxy.clear()
    yards.drop()


@pytest.mark.parametrize("role", ["daemon"])
def test_a_plain_server_loses_nothing_when_the_request_is_lost(plain_yard: Yard, role: str) -> None:
    yard = plain_yard
    rule = yard.proxy.on(POP, Fault.run(lambda _: yard.kill(role), "before"))
    task = yard.task(lines=3)
    yard.enqueue(task)
    (seen,) = yard.final(task)
    assert rule.hits == 1
    wrong = [*yard.judge(seen), *yard.settled()]
    assert not wrong, "\n".join([*wrong, yard.words()])
