"""The console on a terminal: at once, redrawn in place, whatever the server does, and never in anybody's way."""

from __future__ import annotations

import os
import pty
import threading
import time
from pathlib import Path

import pytest

from clearml_agent_clone.api.errors import ServerUnreachable
from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.logs import Echo, Redactor, Screen, Spool
from clearml_agent_clone.logs.echo import REDRAW_LINE
from tests.unit.logs.conftest import Bench


def _bar(bench: Bench, echo: Echo, states: int) -> None:
    for number in range(states):
        bench.spool.write(b"\r%3d%%" % number)
        bench.clock.now += 0.1
        echo.step(bench.clock.now)
    bench.spool.write(b"\r100%\nnext\n")
    echo.finish()


def test_on_a_terminal_a_progress_bar_moves_in_its_line(bench: Bench) -> None:
    shown: list[str] = []
    _bar(bench, Echo(bench.spool, Screen(shown.append, terminal=True), Redactor()), 50)
    text = "".join(shown)
    assert text.count("\n") == 2
    assert text.count(REDRAW_LINE) > 20
    assert text.endswith(f"{REDRAW_LINE}100%\nnext\n")
    assert _screen(text) == ["100%", "next", ""]


def test_in_a_file_it_becomes_few_lines(bench: Bench) -> None:
    shown: list[str] = []
    _bar(bench, Echo(bench.spool, Screen(shown.append), Redactor()), 50)
    text = "".join(shown)
    assert text.endswith("100%\nnext\n")
    assert "\r" not in text
    assert text.count("\n") < 10


def _screen(text: str) -> list[str]:
    """What a terminal that is sent ``text`` shows."""
    lines = [""]
    for part in text.replace("\x1b[K", "").replace("\n", "\n\0").split("\0"):
        line, end, _ = part.partition("\n")
        lines[-1] = (lines[-1] + line).rpartition("\r")[2]
        lines += [""] if end else []
    return lines


def test_a_real_terminal_shows_what_a_task_prints_and_no_secret(bench: Bench) -> None:
    ours, theirs = pty.openpty()
    echo = Echo(
        bench.spool,
        Screen(lambda text: void(os.write(theirs, text.encode())), terminal=os.isatty(theirs)),
        Redactor(["hunter2hunter2"]),
    )
    bench.spool.write(b"Password: hunter2hunt")
    bench.clock.now += 1
    echo.step(bench.clock.now)
    echo.step(bench.clock.now + 1)
    bench.spool.write(b"er2\nshown \xe2\x82\xac\n")
    echo.step(bench.clock.now + 2)
    seen = b""
    while not seen.endswith(b"\xac\r\n"):
        seen += os.read(ours, 1000)
    assert seen.decode() == "Password: ****\r\nshown €\r\n"
    os.close(ours)
    os.close(theirs)


def void(_: object) -> None:
    """Nothing."""


def test_it_does_not_wait_for_a_server_that_answers_nothing(bench: Bench) -> None:
    hung, free = threading.Event(), threading.Event()

    def hang() -> None:
        hung.set()
        free.wait(20)
        raise ServerUnreachable("no answer")

    bench.server.before = hang
    shown: list[str] = []
    shipper = bench.shipper(screens=(Screen(shown.append),), sleep=None)
    (echo,) = shipper.echoes
    bench.spool.write(b"one\n")
    step = threading.Thread(target=shipper.step, args=(bench.clock.now,))
    step.start()
    assert hung.wait(20)
    bench.spool.write(b"two\n")
    shipper.remark("INFO", "remark")
    bench.spool.write(b"three\n")
    echo.step(bench.clock.now)
    assert "".join(shown) == "one\ntwo\nremark\nthree\n"
    shipper.interrupt()
    with pytest.raises(Cancelled):
        shipper.finish()
    free.set()
    step.join()


def test_a_screen_that_stands_still_holds_up_nobody(bench: Bench) -> None:
    free = threading.Event()
    shipper = bench.shipper(screens=(Screen(lambda _: void(free.wait(20))),), sleep=None)
    (echo,) = shipper.echoes
    bench.spool.write(b"one\n")
    stuck = threading.Thread(target=echo.step, args=(0.0,))
    stuck.start()
    shipper.remark("INFO", "remark")
    bench.step(shipper)
    assert bench.server.text == "one\nremark\n"
    timer = threading.Timer(0.1, shipper.interrupt)
    timer.start()
    begin = time.monotonic()
    assert shipper.finish().complete
    assert time.monotonic() - begin < 10
    free.set()
    stuck.join()
    timer.join()


def test_a_pipe_whose_reader_left_costs_the_screen_only(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = os.pipe()
    file = tmp_path / "log"
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as broken, file.open("w") as whole:
        shipper = bench.shipper(
            screens=(Screen(lambda text: void(broken.write(text))), Screen(lambda text: void(whole.write(text))))
        )
        bench.spool.write(b"one\ntwo\n")
        for echo in shipper.echoes:
            echo.step(0.0)
            echo.step(1.0)
        assert shipper.finish().complete
        with pytest.raises(BrokenPipeError):
            broken.flush()
        os.dup2(whole.fileno(), writer)  # or it fails again when it is closed
    assert file.read_text().startswith("one\ntwo\n")
    assert caplog.text.count("not shown any more") == 1


def test_begins_where_it_is_told(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.write(b"one\n")
    shown: list[str] = []
    echo = Echo(spool, Screen(shown.append), Redactor())
    echo.say("said")
    spool.write(b"two")
    echo.finish()
    assert shown == ["one\n", "said\n", "two"]
    assert echo.offset == 7
    spool.close()
