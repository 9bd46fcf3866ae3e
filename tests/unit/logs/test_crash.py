"""The runner dies at every point where it sends or writes something down; the next one goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.errors import ServerUnreachable
from clearml_agent_clone.logs import record as record_module
from clearml_agent_clone.logs.record import load_record
from clearml_agent_clone.util import files
from tests.unit.logs.conftest import Bench

CHUNKS = (b"one\ntwo\nth", b"ree\n\r10%", b"\r20%\nfour", b"\nfive\n", b"last")
TEXT = "one\ntwo\nthree\n20%\nfour\nremark\nfive\nlast"


class Crash(BaseException):
    """The process is gone."""


@attrs.define
class Bomb:
    """Goes off at the given one of the points it is asked at."""

    at: int
    asked: int = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.asked == self.at:
            raise Crash


def _run(bench: Bench, bomb: Callable[[], None], monkeypatch: pytest.MonkeyPatch, arrived: Any) -> None:
    """One console from its beginning to its end, by as many runners as it takes."""

    def write_json(*arguments: Any, **options: Any) -> None:
        bomb()
        files.write_json(*arguments, **options)
        bomb()

    monkeypatch.setattr(record_module, "write_json", write_json)
    bench.server.before = bench.server.after = bomb
    written = 0
    remarked = False
    while True:
        shipper = bench.shipper(arrived=arrived)
        try:
            while written < len(CHUNKS):
                bench.spool.write(CHUNKS[written])
                written += 1
                if written == 3 and not remarked:
                    remarked = True
                    shipper.remark("INFO", "remark")
                shipper.step(bench.clock.now)
                bench.clock.now += 0.1
            assert shipper.finish().complete
        except Crash:
            continue
        return


def _normal(text: str) -> str:
    """The remark interrupts an unfinished line here or there; what matters is that all is there, once."""
    return text.replace("\nremark\n", "\n").replace("fourremark\n", "four").replace("\n\n", "\n")


def test_wherever_the_runner_dies_no_line_is_lost_and_none_comes_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    points = 0
    for at in itertools.count(1):
        bench = _fresh(tmp_path_factory)
        bomb = Bomb(at)
        _run(bench, bomb, monkeypatch, bench.server.has)
        assert bench.server.text.count("remark\n") == 1, at
        assert _normal(bench.server.text) == _normal(TEXT), at
        stamps = [event["timestamp"] for event in bench.server.events]
        assert stamps == sorted(set(stamps)), at
        if bomb.asked < at:
            break
        points += 1
    assert points >= 20


def test_without_asking_the_server_lines_may_come_twice_but_none_is_lost(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    repeated = 0
    for at in itertools.count(1):
        bench = _fresh(tmp_path_factory)
        bomb = Bomb(at)
        _run(bench, bomb, monkeypatch, None)
        for word in ("one", "two", "three", "20%", "four", "remark", "five", "last"):
            assert word in bench.server.text, at
        repeated += _normal(bench.server.text) != _normal(TEXT)
        if bomb.asked < at:
            break
    assert repeated  # if not, this test would not test what it says


def test_an_answer_that_got_lost_is_asked_for(bench: Bench) -> None:
    def lose() -> None:
        bench.server.after = lambda: None
        raise ServerUnreachable("no answer", may_have_acted=True)

    bench.server.after = lose
    shipper = bench.shipper(arrived=bench.server.has)
    bench.spool.write(b"one\n")
    bench.clock.now += shipper.step(bench.clock.now)
    bench.spool.write(b"two\n")
    shipper.step(bench.clock.now)
    assert bench.server.text == "one\ntwo\n"


def test_a_request_that_never_left_is_sent_again_without_asking(bench: Bench) -> None:
    def refuse() -> None:
        bench.server.before = lambda: None
        raise ServerUnreachable("connection refused", may_have_acted=False)

    def arrived(_stamp: int) -> bool:
        raise AssertionError

    bench.server.before = refuse
    shipper = bench.shipper(arrived=arrived)
    bench.spool.write(b"one\n")
    bench.clock.now += shipper.step(bench.clock.now)
    shipper.step(bench.clock.now)
    assert bench.server.text == "one\n"


def test_while_it_is_not_known_what_arrived_nothing_is_sent(bench: Bench) -> None:
    def lose() -> None:
        raise ServerUnreachable("no answer", may_have_acted=True)

    bench.server.after = lose
    bench.spool.write(b"one\n")
    bench.shipper(arrived=bench.server.has).step(bench.clock.now)
    assert load_record(bench.folder).sending is not None

    def away(_stamp: int) -> bool:
        raise ServerUnreachable("still away")

    again = bench.shipper(arrived=away)
    again.step(bench.clock.now)
    assert not again.finish(bench.clock.now).complete
    assert bench.server.attempts == 1
    bench.server.after = lambda: None
    bench.spool.write(b"two\n")
    assert bench.shipper(arrived=bench.server.has).finish().complete
    assert bench.server.text == "one\ntwo\n"


def _fresh(factory: pytest.TempPathFactory) -> Bench:
    from clearml_agent_clone.logs import Spool

    folder = factory.mktemp("run")
    return Bench(folder, Spool.create(folder))
