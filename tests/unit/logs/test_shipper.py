"""From the spool to the server's events."""

from __future__ import annotations

import os
import time

import pytest

from clearml_agent_clone.api.errors import InvalidRequest
from clearml_agent_clone.errors import Cancelled, Fatal
from clearml_agent_clone.logs import Redactor
from clearml_agent_clone.logs.batch import LARGEST_REQUEST, LONGEST_MESSAGE
from clearml_agent_clone.logs.record import RECORD_NAME
from tests.unit.logs.conftest import Bench, nothing


def test_events_have_the_form_the_server_expects(bench: Bench) -> None:
    bench.spool.write(b"one\ntwo\n")
    bench.shipper().step(bench.clock.now)
    assert bench.server.events == [
        {
            "type": "log",
            "level": "DEBUG",
            "task": "task-1",
            "worker": "host:0",
            "msg": "one\ntwo\n",
            "timestamp": 1_700_000_100_000,
        }
    ]


def test_a_hundred_thousand_lines_arrive_complete_and_in_order(bench: Bench) -> None:
    lines = [f"line {number:06d} of a hundred thousand short ones" for number in range(100_000)]
    bench.spool.write("".join(f"{line}\n" for line in lines).encode())
    shipper = bench.shipper(redactor=Redactor(["one-secret-value", "another-secret-value"]))
    begin = time.process_time()
    while shipper.step(bench.clock.now) == 0:
        pass
    used = time.process_time() - begin
    assert bench.server.text.splitlines() == lines
    assert max(bench.server.sizes) <= LARGEST_REQUEST
    assert max(len(event["msg"]) for event in bench.server.events) <= LONGEST_MESSAGE
    assert shipper.delivery.shipped_lines == 100_000
    assert used < 2  # about 0.2 on a quiet machine


def test_timestamps_rise_without_running_ahead_of_the_clock(bench: Bench) -> None:
    shipper = bench.shipper()
    for _ in range(10):
        bench.spool.write(b"x" * 99 + b"\n" * (LONGEST_MESSAGE // 10))
        bench.clock.now += 1
        shipper.step(bench.clock.now)
        assert bench.server.events[-1]["timestamp"] == pytest.approx(bench.clock.unix() * 1000, abs=10)
    bench.clock.now -= 3600  # the clock of the machine is set back
    bench.spool.write(b"later\n")
    shipper.step(bench.clock.now)
    stamps = [event["timestamp"] for event in bench.server.events]
    assert stamps == sorted(set(stamps))


def test_timestamps_rise_over_a_restart(bench: Bench) -> None:
    bench.spool.write(b"first\n")
    bench.shipper().finish()
    bench.clock.now -= 3600
    bench.spool.write(b"second\n")
    bench.shipper().finish()
    first, second = (event["timestamp"] for event in bench.server.events)
    assert second == first + 1


def test_a_prompt_is_shown_within_a_second_and_continued(bench: Bench) -> None:
    shipper = bench.shipper()
    begin = bench.clock.now
    bench.spool.write(b"Name: ")
    while not bench.server.events:
        bench.clock.now += shipper.step(bench.clock.now)
    assert bench.clock.now - begin <= 1.0
    bench.spool.write(b"Ada\nWelcome\n")
    bench.step(shipper)
    assert bench.server.text == "Name: Ada\nWelcome\n"


def test_a_progress_bar_that_runs_for_minutes_is_shown_now_and_then(bench: Bench) -> None:
    shipper = bench.shipper()
    end = bench.clock.now + 120
    number = 0
    wake = bench.clock.now
    while bench.clock.now < end:
        number += 1
        bench.spool.write(b"\r%6d/99999 [%s]" % (number, b"#" * 60))
        bench.clock.now += 0.05
        if bench.clock.now >= wake:
            wake = bench.clock.now + shipper.step(bench.clock.now)
    bench.spool.write(b"\n")
    shipper.finish()
    shown = [line for line in bench.server.text.split("\n") if line]
    assert 20 <= len(shown) <= 30
    assert shown[-1].startswith(f"{number:6d}/")
    assert all(line.count("/") == 1 for line in shown)


def test_all_states_of_a_bar_are_kept_on_demand(bench: Bench) -> None:
    bench.spool.write(b"10%\r50%\r100%\r\nnext\n")
    bench.shipper(fold_carriage_returns=False).finish()
    assert bench.server.text == "10%\n50%\n100%\nnext\n"


def test_idle_steps_cost_a_look_at_the_size_only(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.spool.write(b"done\nunfinished")
    shipper = bench.shipper()
    shipper.step(bench.clock.now)
    bench.clock.now += 2
    shipper.step(bench.clock.now)
    calls: list[str] = []
    monkeypatch.setattr(os, "pread", lambda *_: calls.append("pread"))
    delays = [shipper.step(bench.clock.now + 1 + number) for number in range(20)]
    assert not calls
    assert delays == [0.15] * 20


def test_finish_ships_the_last_line_without_its_end(bench: Bench) -> None:
    bench.spool.write(b"whole\nhalf\xe2\x82")
    delivery = bench.shipper().finish()
    assert bench.server.text == "whole\nhalf\ufffd\ufffd"
    assert delivery.shipped_lines == 2
    assert delivery.shipped_bytes == bench.spool.size()


def test_finish_does_not_run_after_a_process_that_goes_on_writing(bench: Bench) -> None:
    shipper = bench.shipper()

    def more() -> None:
        bench.spool.write(b"more\n")
        shipper.remark("INFO", "later")

    bench.server.after = more
    bench.spool.write(b"x\n")
    shipper.finish()
    assert bench.server.text == "x\n"


def test_a_stop_of_the_agent_passes_through(bench: Bench) -> None:
    def cancel() -> None:
        raise Cancelled

    bench.server.before = cancel
    bench.spool.write(b"x\n")
    with pytest.raises(Cancelled):
        bench.shipper().finish()


def test_text_that_grows_in_json_still_fits_into_a_request(bench: Bench) -> None:
    bench.spool.write((b"\x01" * 99 + b"\n") * 40_000)
    bench.shipper().finish()
    assert max(bench.server.sizes) <= LARGEST_REQUEST
    assert bench.server.text == ("\x01" * 99 + "\n") * 40_000


def test_a_line_of_ten_megabytes_passes_in_parts(bench: Bench) -> None:
    for _ in range(10):
        bench.spool.write(b"x" * (1 << 20))
    shipper = bench.shipper()
    length = 0
    while shipper.step(bench.clock.now) == 0:
        length += sum(len(event["msg"]) for event in bench.server.events)
        bench.server.requests.clear()
    shipper.finish()
    assert length + len(bench.server.text) == 10 << 20
    assert max(bench.server.sizes) <= LARGEST_REQUEST


def test_a_console_never_begins_with_an_event_of_line_ends_only(bench: Bench) -> None:
    bench.spool.write(b"\n\n")
    shipper = bench.shipper()
    shipper.step(bench.clock.now)
    bench.spool.write(b"\n")
    bench.step(shipper)
    assert [event["msg"] for event in bench.server.events] == [" \n\n", "\n"]


def test_what_is_not_the_agents_own_error_is_a_bug_and_shows(bench: Bench) -> None:
    def bug() -> None:
        raise KeyError("x")

    bench.server.before = bug
    bench.spool.write(b"x\n")
    shipper = bench.shipper()
    with pytest.raises(KeyError):
        shipper.step(bench.clock.now)
    bench.server.before = nothing
    shipper.step(bench.clock.now)
    assert bench.server.text == "x\n"
    assert issubclass(InvalidRequest, Fatal)


def test_what_was_shipped_is_given_back_to_the_file_system(bench: Bench) -> None:
    shipper = bench.shipper(keep_bytes=2 << 20)
    for _ in range(8):
        bench.spool.write(b"a line of some length\n" * 100_000)
        while shipper.step(bench.clock.now) == 0:
            pass
    shipper.finish()
    if bench.spool.first() == 0:
        pytest.skip("this file system cannot give parts of a file back")
    assert bench.spool.size() - bench.spool.first() <= 3 << 20
    assert len(bench.server.text) == bench.spool.size()
    (bench.folder / RECORD_NAME).unlink()
    delivery = bench.shipper().finish()
    assert delivery.errors == ("the beginning of the console was given back to the file system",)
    assert "\u2400" not in bench.server.text
