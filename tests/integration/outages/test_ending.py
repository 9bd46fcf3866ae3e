"""Tasks and agents that are ended while the server is away."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.helpers.fault_proxy import Fault
from tests.helpers.worker_tools import until

from .conftest import Rig

pytestmark = pytest.mark.slow  # all together; one by one they take seconds

STOPPED_WITHIN = 30.0


@pytest.mark.parametrize("fault", [None, Fault.BLACK_HOLE, Fault.status(503)], ids=["refused", "black hole", "503"])
def test_stop_does_not_wait_for_the_server_and_the_next_start_tells_it(own_rig: Rig, fault: Fault | None) -> None:
    agent, proxy = own_rig.agent, own_rig.proxy
    agent.daemon()
    counter = own_rig.counter()
    if fault is None:
        proxy.down()
    else:
        proxy.on("*", fault, times=None)
        proxy.cut()
    time.sleep(2.0)
    begin = time.monotonic()
    ended = agent.run("daemon", "--stop")
    took = time.monotonic() - begin
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert agent.get(counter.task)["status"] == "in_progress"
    assert took < STOPPED_WITHIN
    if fault is None:
        proxy.up()
    proxy.clear()
    agent.daemon()
    assert agent.final(counter.task)["status"] == "stopped"
    console = agent.console(counter.task)
    until(lambda: "Process terminated by user" in agent.console(counter.task))
    numbers = [int(line.split()[1]) for line in console.splitlines() if line.startswith("line ")]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 50


def test_a_runner_whose_request_hangs_ends_its_task_when_it_is_stopped(own_rig: Rig) -> None:
    agent, proxy = own_rig.agent, own_rig.proxy
    agent.daemon()
    proxy.on("tasks.started", Fault.BLACK_HOLE)
    task = agent.enqueue(agent.task())
    proxy.wait_for("tasks.started")
    begin = time.monotonic()
    agent.daemons[0].send_signal(signal.SIGINT)
    agent.daemons[0].wait(30)
    assert time.monotonic() - begin < 12
    assert agent.get(task)["status"] in {"queued", "stopped"}


def test_an_abort_is_seen_as_soon_as_the_server_is_back(own_rig: Rig) -> None:
    agent, proxy = own_rig.agent, own_rig.proxy
    agent.daemon()
    counter = own_rig.counter()
    proxy.down()
    agent.server.call("tasks.stop", task=counter.task)
    time.sleep(3.0)
    proxy.up()
    back = time.monotonic()
    assert agent.final(counter.task)["status"] == "stopped"
    assert time.monotonic() - back < 12


def test_a_killed_daemon_finds_its_task_again_when_the_server_is_back(own_rig: Rig) -> None:
    agent, proxy = own_rig.agent, own_rig.proxy
    agent.daemon()
    counter = own_rig.counter()
    proxy.down()
    os.kill(agent.daemons[0].pid, signal.SIGKILL)
    agent.daemons[0].wait()
    counter.stop()
    time.sleep(2.0)
    proxy.up()
    agent.daemon()
    assert agent.final(counter.task)["status"] == "completed"
    own_rig.whole_console(counter.task)
