"""A server that is away, slow, or lets nobody in."""

from __future__ import annotations

import pytest

from clearml_agent_clone.api.errors import CredentialsRefused, ServerBusy, ServerUnreachable
from clearml_agent_clone.logs import Redactor, Screen
from clearml_agent_clone.logs.batch import LARGEST_REQUEST
from tests.unit.logs.conftest import Bench, away, nothing


def test_a_server_that_is_away_costs_nothing_but_delay(bench: Bench) -> None:
    shipper = bench.shipper()
    bench.server.before = away
    pauses = []
    for number in range(12):
        bench.spool.write(b"line %d\n" % number)
        pauses.append(shipper.step(bench.clock.now))
        bench.clock.now += pauses[-1]
    assert pauses == [0.5, 1, 2, 4, 8, *[10] * 7]
    bench.server.before = nothing
    bench.clock.now += 10
    shipper.step(bench.clock.now)
    assert bench.server.text == "".join(f"line {number}\n" for number in range(12))
    assert shipper.delivery.complete
    assert shipper.delivery.errors == ("the server is away",)
    bench.spool.write(b"after\n")
    assert shipper.step(bench.clock.now) < 1


def test_while_it_waits_the_server_is_not_asked(bench: Bench) -> None:
    bench.server.before = away
    bench.spool.write(b"x\n")
    shipper = bench.shipper()
    pause = shipper.step(bench.clock.now)
    assert shipper.step(bench.clock.now + pause / 2) == pytest.approx(pause / 2)
    assert bench.server.attempts == 1


def test_a_pause_that_the_server_asks_for_is_kept(bench: Bench) -> None:
    def busy() -> None:
        raise ServerBusy("too many requests", status=429, retry_after=7)

    bench.server.before = busy
    bench.spool.write(b"x\n")
    assert bench.shipper().step(bench.clock.now) == 7


def test_the_console_comes_back_when_everybody_does(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def known() -> None:
        error = ServerUnreachable("refused")
        error.again_in, error.told = 1.0, True
        raise error

    bench.server.before = known
    bench.spool.write(b"x\n")
    shipper = bench.shipper()
    for _ in range(5):
        assert shipper.step(bench.clock.now) == 1.0
        bench.clock.now += 1.0
    assert caplog.messages == []


def test_refused_credentials_may_be_mended(bench: Bench) -> None:
    def refuse() -> None:
        raise CredentialsRefused("the key is not known")

    bench.server.before = refuse
    bench.spool.write(b"x\n")
    shipper = bench.shipper()
    bench.clock.now += shipper.step(bench.clock.now)
    bench.server.before = nothing
    shipper.step(bench.clock.now)
    assert bench.server.text == "x\n"


def test_memory_stays_bounded_while_the_server_is_away(bench: Bench) -> None:
    bench.server.before = away
    shipper = bench.shipper()
    for _ in range(20):
        bench.spool.write(b"a line of some length\n" * 50_000)
        bench.clock.now += shipper.step(bench.clock.now)
    assert 0 < sum(batch.size for batch in shipper._ready) <= 2 * LARGEST_REQUEST


def test_finish_waits_for_a_server_until_its_deadline_and_may_be_called_again(bench: Bench) -> None:
    bench.server.before = away
    bench.spool.write(b"x\ny")
    shipper = bench.shipper()
    deadline = bench.clock.now + 20
    delivery = shipper.finish(deadline)
    assert deadline - 10 < bench.clock.now <= deadline
    assert delivery.undelivered_bytes == 3
    assert delivery.errors == ("the server is away",)
    bench.server.before = nothing
    assert shipper.finish(deadline).complete
    assert bench.server.text == "x\ny"


def test_the_screen_shows_the_console_also_while_the_server_is_away(bench: Bench) -> None:
    shown: list[str] = []
    bench.server.before = away
    shipper = bench.shipper(screens=(Screen(shown.append),), redactor=Redactor(["hunter2hunter2"]))
    (echo,) = shipper.echoes
    shipper.remark("INFO", "begin")
    bench.spool.write(b"hunter2hunter2\n")
    echo.step(bench.clock.now)
    bench.spool.write(b"second\nprompt: ")
    assert echo.step(bench.clock.now + 0.1) <= 0.2
    bench.spool.write(b"x")
    shipper.remark("ERROR", "end")
    bench.spool.write(b"last")
    shipper.finish(bench.clock.now)
    assert "".join(shown) == "begin\n****\nsecond\nprompt: x\nend\nlast"
