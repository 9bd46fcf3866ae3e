"""Crashes of more than one process: the whole machine, and a worker with several tasks at once."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from clearml_agent_clone.server.embedded import running_server
from tests.crash.points import AGENT, EVERYBODY
from tests.crash.yard import Yard
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.faults import Fault
from tests.helpers.worker_tools import until
from tests.integration.conftest import Server

pytestmark = pytest.mark.crash


@pytest.fixture
def make_yard(tmp_path: Path) -> Iterator[Callable[..., Yard]]:
    """Makes a yard whose daemon has these flags."""
    made = []
    with running_server(tmp_path / "server") as embedded, FaultProxy(embedded.api_url) as proxy:
        server = Server(embedded)

        def make(*flags: str) -> Yard:
            made.append(Yard.open(server, proxy, tmp_path / "yard", *flags))
            return made[-1]

        yield make
        for yard in made:
            yard.close()
        server.http.close()


def restart_machine(yard: Yard) -> None:
    """All processes die at once, and what is started afterwards sees another boot."""
    for process in yard.processes():
        with contextlib.suppress(psutil.Error):
            process.kill()
    until(lambda: not yard.processes())
    (yard.crash / "boot").write_text(f"{uuid.uuid4()}\n")


@pytest.mark.parametrize("state", ["claimed", "preparing", "running", "finishing"])
def test_a_machine_that_is_restarted_fails_what_ran(make_yard: Callable[..., Yard], state: str) -> None:
    yard = make_yard()
    yard.up()
    task = at_state(yard, state)
    restart_machine(yard)
    (seen,) = yard.final(task)
    ends = {"claimed": "completed: ", "finishing": "completed: "}
    wrong = [*yard.judge(seen, promised=ends.get(state, "failed: node lost: ")), *yard.settled()]
    assert not wrong, "\n".join([*wrong, yard.words()])


def at_state(yard: Yard, state: str) -> str:
    """A task whose run stays in ``state``: its next step needs a call that is not answered."""
    task = yard.task(lines=100_000 if state == "running" else 20, pause=0.01)
    call = {"claimed": "tasks.get_by_id", "preparing": "tasks.started", "finishing": "tasks.completed"}.get(state)
    if call is None:
        yard.enqueue(task)
        yard.printing(task)
    else:
        yard.proxy.on(call, Fault.BLACK_HOLE)
        yard.enqueue(task)
        yard.proxy.wait_for(call)
    return task


def test_a_machine_that_is_restarted_lets_tasks_wait_again_where_that_is_set(make_yard: Callable[..., Yard]) -> None:
    yard = make_yard()
    yard.configure(on_node_loss="requeue")
    yard.up()
    task = yard.task(lines=150, pause=0.01)
    yard.enqueue(task)
    yard.printing(task)
    restart_machine(yard)
    (seen,) = yard.final(task)
    assert (seen["status"], yard.starts(task)) == ("completed", 2), yard.words()
    assert yard.settled() == []


@pytest.mark.parametrize("killed", [("daemon",), ("runner",), ("nursery",), AGENT, EVERYBODY], ids="-".join)
def test_two_tasks_at_once_outlive_a_crash(make_yard: Callable[..., Yard], killed: tuple[str, ...]) -> None:
    yard = make_yard("--services-mode", "2")
    yard.up()
    tasks = [yard.task(lines=150, pause=0.01) for _ in range(2)]
    behind = yard.task(lines=1)
    yard.enqueue(*tasks, behind)
    for task in tasks:
        yard.printing(task)
    yard.kill(*killed)
    seen = yard.final(*tasks, behind)
    wrong = [word for task in seen[:2] for word in yard.judge(task, killed)] + yard.judge(seen[2]) + yard.settled()
    if seen[2]["started"] < min(task["completed"] for task in seen[:2]):
        wrong.append("a third task was started beside the two")
    assert not wrong, "\n".join([*wrong, yard.words()])


@pytest.mark.parametrize("setting", ["adopt", "end"])
def test_a_lost_runner_means_what_is_set(make_yard: Callable[..., Yard], setting: str) -> None:
    yard = make_yard()
    yard.configure(on_runner_loss=setting)
    yard.up()
    task = yard.task(lines=100, pause=0.01, code=3)
    yard.enqueue(task)
    yard.printing(task)
    yard.kill("runner")
    (seen,) = yard.final(task)
    promised = "failed: worker execution exit code 3" if setting == "adopt" else "failed: runner lost: "
    wrong = [*yard.judge(seen, promised=promised), *yard.settled()]
    assert not wrong, "\n".join([*wrong, yard.words()])
