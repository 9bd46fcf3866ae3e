"""What the server refuses: which lines, and what becomes of the others."""

from __future__ import annotations

from clearml_agent_clone.api.errors import InvalidRequest
from tests.unit.logs.conftest import Bench, nothing, refused


def test_lines_that_the_server_refuses_are_found_counted_and_said(bench: Bench) -> None:
    def refuse_some() -> None:
        if any(b"bad" in line for line in bench.server.now):
            refused()

    bench.server.before = refuse_some
    lines = [f"line {number} {'bad' if number in {0, 700, 701, 30_000} else ''}\n" for number in range(40_000)]
    bench.spool.write("".join(lines).encode())
    delivery = bench.shipper().finish()
    bad = [line for line in lines if "bad" in line]
    said = bench.server.events[-1]
    assert bench.server.text.startswith("".join(line for line in lines if line not in bad))
    assert delivery.shipped_lines == 40_000 - 4
    assert delivery.undelivered_bytes == len("".join(bad))
    assert said["level"] == "WARNING"
    assert said["msg"] == (
        f"clearml_agent: WARNING: 4 lines ({delivery.undelivered_bytes} bytes) could not be delivered:"
        " events.add_batch was refused\n"
    )
    assert bench.server.attempts < 120
    bench.shipper().finish()
    assert bench.server.text.count("could not be delivered") == 1


def test_the_last_line_refused_is_said_too(bench: Bench) -> None:
    def refuse_some() -> None:
        if any(b"bad" in line for line in bench.server.now):
            refused()

    bench.server.before = refuse_some
    bench.spool.write(b"good\nbad\nbad")
    assert bench.shipper().finish().undelivered_bytes == 7
    assert bench.server.text.startswith("good\nclearml_agent: WARNING: 2 lines (7 bytes) could not")


def test_a_task_that_takes_nothing_loses_nothing_that_could_still_be_delivered(bench: Bench) -> None:
    shipper = bench.shipper()
    bench.spool.write(b"taken\n")
    shipper.step(bench.clock.now)
    bench.server.before = refused
    pauses = []
    for number in range(200):
        bench.spool.write(b"line %d\n" % number)
        pauses.append(bench.step(shipper))
        bench.clock.now += pauses[-1]
    assert max(pauses) == 30
    bench.server.before = nothing
    bench.clock.now += 30
    assert shipper.finish().complete
    assert bench.server.text == "taken\n" + "".join(f"line {number}\n" for number in range(200))
    assert any("refused" in error for error in shipper.delivery.errors)


def test_a_request_that_is_too_large_for_a_proxy_is_cut_and_stays_small(bench: Bench) -> None:
    largest = 100_000

    def limit() -> None:
        if sum(map(len, bench.server.now)) > largest:
            raise InvalidRequest("too large", endpoint="x", status=413, subcode=0, server_message="")

    bench.server.before = limit
    bench.spool.write(b"a line of some length\n" * 200_000)
    assert bench.shipper().finish().complete
    assert max(bench.server.sizes) <= largest
    assert bench.server.attempts < len(bench.server.requests) + 10
    assert bench.server.text == "a line of some length\n" * 200_000


def test_finish_gives_up_on_a_server_that_refuses_everything(bench: Bench) -> None:
    bench.server.before = refused
    bench.spool.write(b"a line of some length\n" * 200_000)
    delivery = bench.shipper().finish()
    assert bench.server.attempts < 12
    assert delivery.undelivered_bytes == bench.spool.size()
    assert not delivery.complete


def test_a_refused_prompt_is_sent_again_with_its_line(bench: Bench) -> None:
    shipper = bench.shipper()
    bench.spool.write(b"Name: ")
    bench.server.before = refused
    shipper.step(bench.clock.now)
    bench.clock.now += 1
    shipper.step(bench.clock.now)
    assert bench.server.attempts == 1
    bench.server.before = nothing
    bench.spool.write(b"Ada\n")
    bench.clock.now += 5
    shipper.step(bench.clock.now)
    assert shipper.finish().complete
    assert bench.server.text == "Name: Ada\n"


def test_events_that_the_server_only_counts_as_bad_are_said(bench: Bench) -> None:
    bench.server.answer = {"added": 0, "errors": 2, "errors_info": {"Invalid task id": 2}}
    bench.spool.write(b"x\n")
    assert bench.shipper().finish().errors == ("the server rejected 2 console events: Invalid task id",)
