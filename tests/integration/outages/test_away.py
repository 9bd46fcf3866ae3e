"""The server is away while a task runs: it goes on, and afterwards everything has arrived, in order and once."""

from __future__ import annotations

import time

import pytest

from tests.helpers.fault_proxy import Fault

from .conftest import Rig

AWAY = 3.0

FAULTS = {
    "refused": None,
    "cut before it is read": Fault.REFUSE,
    "request lost": Fault.LOSE_REQUEST,
    "reply lost": Fault.LOSE_REPLY,
    "half a reply": Fault.HALF_REPLY,
    "black hole": Fault.BLACK_HOLE,
    "500": Fault.refusal(500, 0, "General data error"),
    "502": Fault.status(502, "<html>Bad Gateway</html>"),
    "503": Fault.status(503, "busy"),
    "429": Fault.status(429),
    "429 with a pause": Fault.status(429, Retry_After="2"),
    "login page": Fault.GARBAGE,
    "broken JSON": Fault.BROKEN_JSON,
    "JSON of somebody else": Fault.garbage('{"error": "no route"}', "application/json"),
    "404 of a load balancer": Fault.status(404, "<html>default backend</html>"),
    "access denied page": Fault.status(403, "<html>Forbidden</html>"),
}

# Requests of daemon and runner together while the server is away: the first that each of their loops has under way,
# and for each process a try after 0.5, 1, 2, ... seconds.
MOST = 26


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=name, marks=[] if name in {"refused", "reply lost", "503"} else [pytest.mark.slow])
        for name, fault in FAULTS.items()
    ],
)
def test_a_task_outlives_an_outage(rig: Rig, fault: Fault | None) -> None:
    proxy, counter = rig.proxy, rig.counter()
    before = len(proxy.calls)
    if fault is None:
        proxy.down()
    else:
        proxy.on("*", fault, times=None)
        proxy.cut()
    time.sleep(AWAY)
    asked = len(proxy.calls) - before
    counter.stop()  # it ends while nobody can be told
    if fault is None:
        proxy.up()
    else:
        proxy.clear()
    back = time.monotonic()
    seen = rig.agent.final(counter.task)
    took = time.monotonic() - back
    assert (seen["status"], seen["status_reason"]) == ("completed", "worker execution done")
    assert len(rig.whole_console(counter.task)) > 50
    assert asked <= MOST
    assert took < 12
