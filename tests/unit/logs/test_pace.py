"""How soon console is seen, how many requests that takes, and in what order it is sorted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearml_agent_clone.api.errors import ServerUnreachable
from clearml_agent_clone.logs import Spool
from tests.unit.logs.conftest import Bench
from tests.unit.logs.test_reader import spooled

_WRITES = st.lists(st.tuples(st.floats(0.0, 2.0), st.booleans()), min_size=1, max_size=30)


def _drive(bench: Bench, writes: list[tuple[float, bytes]], seconds: float) -> dict[bytes, float]:
    """Write at the given times, step when the shipper wants to; when each write was on the server, in full."""
    shipper = bench.shipper()
    begin = bench.clock.now
    seen: dict[bytes, float] = {}
    wake = begin
    todo = list(writes)
    while bench.clock.now < begin + seconds:
        if todo and begin + todo[0][0] <= wake:
            at, data = todo.pop(0)
            bench.clock.now = max(bench.clock.now, begin + at)
            bench.spool.write(data)
            continue
        bench.clock.now = wake
        wake = bench.clock.now + max(shipper.step(bench.clock.now), 0.001)
        text = bench.server.text
        for _, data in writes:
            if data.decode() in text:
                seen.setdefault(data, bench.clock.now - begin)
    return seen


@settings(max_examples=60, deadline=None)
@given(_WRITES)
def test_lines_and_prompts_are_seen_within_a_second(gaps: list[tuple[float, bool]]) -> None:
    for spool in spooled():
        at, writes = 0.0, []
        for number, (pause, whole) in enumerate(gaps):
            at += pause
            writes.append((at, b"<%03d>%s" % (number, b"\n" if whole else b"")))
        bench = Bench(spool.path.parent, spool)
        seen = _drive(bench, writes, at + 3)
        for when, data in writes:
            assert not data.endswith(b"\n") or seen[data] - when <= 1.0
        assert bench.server.text == b"".join(data for _, data in writes).decode()


@pytest.mark.parametrize("phase", range(20))
def test_a_prompt_is_seen_within_a_second_at_any_moment(phase: int, bench: Bench) -> None:
    writes = [(0.0, b"start\n"), (3 + phase * 0.05, b"a line\n"), (3 + phase * 0.05 + 0.001, b"Name: ")]
    seen = _drive(bench, writes, 6)
    assert seen[b"Name: "] - writes[2][0] <= 1.0
    assert seen[b"a line\n"] - writes[1][0] <= 1.0


@pytest.mark.parametrize("rate", [10, 1000])
def test_lines_that_come_one_by_one_share_a_request(bench: Bench, rate: int) -> None:
    writes = [(number / rate, b"line %d\n" % number) for number in range(10 * rate)]
    _drive(bench, writes[:: max(rate // 100, 1)], 11)
    assert len(bench.server.requests) <= 30
    assert bench.server.text == "".join(data.decode() for _, data in writes[:: max(rate // 100, 1)])


def test_a_flood_is_not_held_back(bench: Bench) -> None:
    shipper = bench.shipper()
    bench.spool.write(b"a line of some length\n")
    shipper.step(bench.clock.now)
    bench.spool.write(b"a line of some length\n" * 500_000)
    while shipper.step(bench.clock.now) == 0:
        pass
    assert len(bench.server.text) > 22 * 490_000


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_timestamps_rise_in_the_order_of_printing_whatever_the_clock_does(seed: int) -> None:
    luck = random.Random(seed)
    for spool in spooled():
        bench = Bench(spool.path.parent, spool)

        def fault(bench: Bench = bench) -> None:
            if luck.random() < 0.3:
                raise ServerUnreachable("no answer", may_have_acted=True)

        bench.server.after = fault
        printed = []
        shipper = bench.shipper(arrived=bench.server.has)
        for number in range(30):
            bench.clock.skew += luck.choice([0, 0, 0, -3600, 3600, -0.5])
            printed.append(f"line {number}\n")
            spool.write(printed[-1].encode())
            if luck.random() < 0.2:
                shipper.remark("INFO", "remark")
            if luck.random() < 0.2:
                shipper = bench.shipper(arrived=bench.server.has)
            bench.step(shipper)
        bench.server.after = lambda: None
        shipper.finish()
        stamps = [event["timestamp"] for event in bench.server.events]
        assert stamps == sorted(set(stamps))
        assert [line for line in bench.server.text.splitlines(keepends=True) if line != "remark\n"] == printed


def test_half_characters_at_the_end_of_every_write_are_put_together(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = "naïve € \U0001f600 ẍ\n".encode() * 20
    folder = tmp_path_factory.mktemp("run")
    bench = Bench(folder, Spool.create(folder))
    shipper = bench.shipper()
    for byte in data:
        bench.spool.write(bytes([byte]))
        bench.step(shipper)
    shipper.finish()
    assert bench.server.text == data.decode()
    bench.spool.close()
