"""Interrupted, doubted, taken over: what is delivered when runners and servers come and go."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from clearml_agent_clone.api.errors import EndpointMissing, ServerUnreachable
from clearml_agent_clone.errors import Cancelled, Fatal
from clearml_agent_clone.logs import arrived_by
from clearml_agent_clone.logs.record import RECORD_NAME, load_record
from tests.unit.logs.conftest import Bench, away, nothing


def test_the_last_delivery_can_be_interrupted_and_a_new_runner_goes_on(bench: Bench) -> None:
    bench.spool.write(b"one\n")
    shipper = bench.shipper(sleep=None)
    shipper.step(bench.clock.now)
    bench.server.before = away
    bench.spool.write(b"two\nthree")
    timer = threading.Timer(0.1, shipper.interrupt)
    timer.start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        shipper.finish()
    assert time.monotonic() - begin < 5
    timer.join()
    with pytest.raises(Cancelled):
        shipper.finish()
    bench.server.before = nothing
    assert load_record(bench.folder).done.place.offset == 4
    assert bench.shipper().finish().complete
    assert bench.server.text == "one\ntwo\nthree"


def test_an_interrupt_does_not_wait_for_a_request_that_hangs(bench: Bench) -> None:
    hung, free = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        free.wait(20)

    bench.server.before = hang
    bench.spool.write(b"one\n")
    shipper = bench.shipper(sleep=None)
    step = threading.Thread(target=shipper.step, args=(bench.clock.now,))
    step.start()
    assert hung.wait(20)
    shipper.interrupt()
    with pytest.raises(Cancelled):
        shipper.finish()
    free.set()
    step.join()


def test_a_stop_while_waiting_passes_through_and_keeps_the_record(bench: Bench) -> None:
    def stop(_seconds: float) -> None:
        raise Cancelled

    bench.server.before = away
    bench.spool.write(b"one\n")
    with pytest.raises(Cancelled):
        bench.shipper(sleep=stop).finish()
    bench.server.before = nothing
    assert bench.shipper().finish().complete
    assert bench.server.text == "one\n"


def test_two_processes_cannot_ship_one_console(bench: Bench) -> None:
    script = (
        "import sys, pathlib\n"
        "from clearml_agent_clone.logs.record import claim_record\n"
        "claim_record(pathlib.Path(sys.argv[1])); print('mine', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(bench.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout is not None
    assert other.stdout.readline() == b"mine\n"
    with pytest.raises(Fatal) as caught:
        bench.shipper()
    assert caught.value.code == "console-taken"
    other.kill()
    other.communicate()
    bench.shipper()


def test_a_request_that_comes_through_late_is_not_sent_again(bench: Bench) -> None:
    """The runner was killed in the middle of a request, and its successor is quicker than the server."""
    late: list[bytes] = []

    def hold() -> None:
        late.extend(bench.server.now)
        raise ServerUnreachable("no answer", may_have_acted=True)

    bench.server.before = hold
    bench.spool.write(b"one\n")
    bench.shipper(arrived=bench.server.has).step(bench.clock.now)
    bench.server.before = nothing
    asked = 0

    def arrived(stamp: int) -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            bench.server.send(late)
        return bench.server.has(stamp)

    successor = bench.shipper(arrived=arrived)
    bench.spool.write(b"two\n")
    assert successor.step(bench.clock.now) > 1
    assert successor.finish().complete
    assert bench.server.text == "one\ntwo\n"


def test_a_server_that_came_back_without_the_last_request_gets_it_again(bench: Bench) -> None:
    def lose() -> None:
        bench.server.requests.pop()
        raise ServerUnreachable("the server was restarted", may_have_acted=True)

    bench.server.after = lose
    bench.spool.write(b"one\n")
    shipper = bench.shipper(arrived=bench.server.has)
    shipper.step(bench.clock.now)
    bench.server.after = nothing
    assert shipper.finish().complete
    assert bench.server.text == "one\n"


def test_a_record_of_an_older_agent_is_understood(bench: Bench) -> None:
    bench.spool.write(b"one\n")
    bench.shipper().finish()
    record = bench.folder / RECORD_NAME
    text = record.read_text()
    for name in ("lost_lines", "dropped_bytes", "dropped_lines"):
        assert f',"{name}":0' in text
        text = text.replace(f',"{name}":0', "")
    record.write_text(text)
    bench.spool.write(b"two\n")
    bench.shipper().finish()
    assert bench.server.text == "one\ntwo\n"


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([{"timestamp": 500}, {"timestamp": 501}], True),
        ([{"timestamp": 501}], False),
        ([], False),
        (None, False),
        ([{"timestamp": "500"}], True),
        ([{"timestamp": 500.0}], True),
        ([{"msg": "no time"}, {"timestamp": None}], False),
    ],
)
def test_servers_answer_in_many_ways(events: Any, expected: bool) -> None:
    asked = []

    def call(endpoint: str, body: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        asked.append((endpoint, body["from_timestamp"]))
        return {"events": events, "total": 7}

    assert arrived_by(call, "t")(500) is expected
    assert asked == [("events.get_task_log", 499)]


def test_a_server_that_knows_no_from_timestamp_is_asked_for_the_newest() -> None:
    log = [{"timestamp": stamp} for stamp in range(1000)]

    def call(_endpoint: str, body: Mapping[str, Any], **_: Any) -> dict[str, Any]:
        events = log if body["order"] == "asc" else log[::-1]
        return {"events": events[: body["batch_size"]]}

    assert arrived_by(call, "t")(990)
    assert not arrived_by(call, "t")(1000)


def test_a_server_that_cannot_be_asked_gets_the_request_again(bench: Bench) -> None:
    def arrived(_stamp: int) -> bool:
        raise EndpointMissing("no such call", endpoint="events.get_task_log")

    def lose() -> None:
        bench.server.after = nothing
        raise ServerUnreachable("no answer", may_have_acted=True)

    bench.server.after = lose
    bench.spool.write(b"one\n")
    assert bench.shipper(arrived=arrived).finish().complete
    assert bench.server.text == "one\none\n"
