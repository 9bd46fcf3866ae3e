"""``execute`` is killed: its task must not be in progress for ever. The next daemon of the same user ends it."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.server.embedded import running_server
from clearml_agent_clone.worker.estate import LOOK
from tests.crash.points import Point
from tests.crash.yard import COMPLETED, Yard
from tests.helpers.fault_proxy import FaultProxy
from tests.integration.conftest import Server

pytestmark = pytest.mark.crash

LOST = "failed: runner lost: "
POINTS = {
    ("before", "call tasks.dequeue"): "queued: ",
    ("after", "call tasks.dequeue"): "failed: ",
    ("before", "replace runs/RUN/state.json=preparing"): "failed: ",
    ("before", "call tasks.started"): "failed: ",
    ("after", "call tasks.started"): LOST,
    ("before", "replace runs/RUN/state.json=running"): LOST,
    ("after", "replace runs/RUN/clearml.conf"): LOST,
    ("after", "call events.add_batch"): COMPLETED,
    ("before", "replace runs/RUN/state.json=finishing"): COMPLETED,
    ("after", "replace runs/RUN/state.json=finishing"): COMPLETED,
    ("before", "call tasks.completed"): COMPLETED,
    ("after", "call tasks.completed"): COMPLETED,
    ("after", "replace runs/RUN/state.json=done"): COMPLETED,
}


@pytest.fixture
def lone_yard(tmp_path: Path) -> Iterator[Yard]:
    """A yard whose daemon has not been started."""
    with running_server(tmp_path / "server") as embedded, FaultProxy(embedded.api_url) as proxy:
        server = Server(embedded)
        yard = Yard.open(server, proxy, tmp_path / "yard")
        yield yard
        yard.close()
        server.http.close()


@pytest.mark.parametrize(("when", "event"), [*POINTS])
def test_a_killed_execute_leaves_no_task_in_progress(lone_yard: Yard, when: str, event: str) -> None:
    yard = lone_yard
    promised = POINTS[when, event]
    task = yard.task()
    yard.agent.server.call("tasks.enqueue", task=task, queue=yard.agent.queue("by hand"))
    yard.arm(Point("execute", "execute", when, event, ("execute",), 3 if "add_batch" in event else 1))
    command = yard.agent.command("execute", "--id", task)
    done = subprocess.run(command, env=yard.agent.environ, cwd=yard.agent.home, capture_output=True, check=False)
    assert yard.fired, done.stdout + done.stderr
    assert done.returncode == -9
    for file in yard.agent.state.glob("runs/*/job.json"):
        an_hour_ago = time.time() - 60 * LOOK
        os.utime(file, (an_hour_ago, an_hour_ago))
    yard.up()
    if promised.startswith("queued"):
        assert yard.agent.get(task)["status"] == "queued"
        return
    (seen,) = yard.final(task)
    wrong = yard.judge(seen, ("runner",), promised)
    if not event.endswith("=done"):  # a finished run is kept for a week: it may be one that was to be kept
        wrong += yard.settled()
    assert not wrong, "\n".join([*wrong, yard.words()])
