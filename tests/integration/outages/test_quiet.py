"""How much an agent asks, says and keeps while the server is away."""

from __future__ import annotations

import time

import psutil
import pytest

from tests.helpers.fault_proxy import Fault
from tests.helpers.worker_tools import until

from .conftest import Rig

MINUTE = 60.0
PER_PROCESS = 22
"""Requests in a minute: those under way in the beginning, 0.5, 1, 2, 4 and 8 seconds of pauses at least halved, then one
in five to ten seconds."""


@pytest.mark.timeout(300)
@pytest.mark.slow
@pytest.mark.parametrize("fault", [Fault.status(503), Fault.BLACK_HOLE, Fault.GARBAGE], ids=["503", "hole", "garbage"])
def test_a_minute_without_a_server(own_rig: Rig, fault: Fault) -> None:
    agent, proxy = own_rig.agent, own_rig.proxy
    daemon = psutil.Process(agent.daemon().pid)
    counter = own_rig.counter()
    lines = len(agent.log().splitlines()), len(own_rig.runner_log(counter.task).splitlines())
    memory, cpu = daemon.memory_info().rss, sum(daemon.cpu_times()[:2])
    proxy.on("*", fault, times=None)
    proxy.cut()
    before = len(proxy.calls)
    time.sleep(MINUTE)
    assert len(proxy.calls) - before <= 2 * PER_PROCESS
    assert daemon.memory_info().rss - memory < 3 * 2**20
    assert sum(daemon.cpu_times()[:2]) - cpu < 3.0
    assert len(agent.log().splitlines()) - lines[0] <= 4, agent.log()
    assert len(own_rig.runner_log(counter.task).splitlines()) - lines[1] <= 4, own_rig.runner_log(counter.task)
    assert "cannot be used since" in own_rig.runner_log(counter.task)
    proxy.clear()
    back = time.monotonic()
    until(lambda: "answers again after" in own_rig.runner_log(counter.task))
    counter.stop()
    assert agent.final(counter.task)["status"] == "completed"
    assert time.monotonic() - back < 20
    own_rig.whole_console(counter.task)


@pytest.mark.slow
def test_requests_that_were_swallowed_for_good_do_not_hold_anything_up_for_long(own_rig: Rig) -> None:
    """Packets that were dropped never get an answer, also when those of a new connection do."""
    agent, proxy = own_rig.agent, own_rig.proxy
    agent.daemon()
    counter = own_rig.counter()
    hole = proxy.on("*", Fault.BLACK_HOLE, times=None)
    time.sleep(5.0)
    hole.cancel()  # what is in it stays there
    counter.stop()
    back = time.monotonic()
    assert agent.final(counter.task)["status"] == "completed"
    assert time.monotonic() - back < 60
    own_rig.whole_console(counter.task)
