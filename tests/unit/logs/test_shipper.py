from __future__ import annotations

import os
import time

import pytest

from clearml_agent_clone.api.errors import CredentialsRefused, InvalidRequest, ServerBusy, ServerUnreachable
from clearml_agent_clone.errors import Cancelled, Fatal, Retryable
from clearml_agent_clone.logs import Redactor, Screen
from clearml_agent_clone.logs.batch import LARGEST_REQUEST, LONGEST_MESSAGE
from clearml_agent_clone.logs.record import RECORD_NAME
from tests.unit.logs.conftest import Bench


def _away() -> None:
    raise ServerUnreachable("the server is away")


def _refused() -> None:
    raise InvalidRequest(
        "events.add_batch was refused", endpoint="events.add_batch", status=400, subcode=131, server_message="published"
    )


def _nothing() -> None:
    pass


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


def test_a_server_that_is_away_costs_nothing_but_delay(bench: Bench) -> None:
    shipper = bench.shipper()
    bench.server.before = _away
    pauses = []
    for number in range(12):
        bench.spool.write(b"line %d\n" % number)
        pauses.append(shipper.step(bench.clock.now))
        bench.clock.now += pauses[-1]
    assert pauses == [0.5, 1, 2, 4, 8, *[10] * 7]
    bench.server.before = _nothing
    bench.clock.now += 10
    shipper.step(bench.clock.now)
    assert bench.server.text == "".join(f"line {number}\n" for number in range(12))
    assert shipper.delivery.complete
    assert shipper.delivery.errors == ("the server is away",)
    bench.spool.write(b"after\n")
    assert shipper.step(bench.clock.now) < 1


def test_while_it_waits_the_server_is_not_asked(bench: Bench) -> None:
    bench.server.before = _away
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
    bench.server.before = _nothing
    shipper.step(bench.clock.now)
    assert bench.server.text == "x\n"


def test_memory_stays_bounded_while_the_server_is_away(bench: Bench) -> None:
    bench.server.before = _away
    shipper = bench.shipper()
    for _ in range(20):
        bench.spool.write(b"a line of some length\n" * 50_000)
        bench.clock.now += shipper.step(bench.clock.now)
    assert 0 < sum(batch.size for batch in shipper._ready) <= 2 * LARGEST_REQUEST


def test_lines_that_the_server_refuses_are_found_counted_and_said(bench: Bench) -> None:
    def refuse_some() -> None:
        if any(b"bad" in line for line in bench.server.now):
            _refused()

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
            _refused()

    bench.server.before = refuse_some
    bench.spool.write(b"good\nbad\nbad")
    assert bench.shipper().finish().undelivered_bytes == 7
    assert bench.server.text.startswith("good\nclearml_agent: WARNING: 2 lines (7 bytes) could not")


def test_a_task_that_takes_nothing_loses_nothing_that_could_still_be_delivered(bench: Bench) -> None:
    shipper = bench.shipper()
    bench.spool.write(b"taken\n")
    shipper.step(bench.clock.now)
    bench.server.before = _refused
    pauses = []
    for number in range(200):
        bench.spool.write(b"line %d\n" % number)
        pauses.append(bench.step(shipper))
        bench.clock.now += pauses[-1]
    assert max(pauses) == 30
    bench.server.before = _nothing
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
    bench.server.before = _refused
    bench.spool.write(b"a line of some length\n" * 200_000)
    delivery = bench.shipper().finish()
    assert bench.server.attempts < 12
    assert delivery.undelivered_bytes == bench.spool.size()
    assert not delivery.complete


def test_a_refused_prompt_is_sent_again_with_its_line(bench: Bench) -> None:
    shipper = bench.shipper()
    bench.spool.write(b"Name: ")
    bench.server.before = _refused
    shipper.step(bench.clock.now)
    bench.clock.now += 1
    shipper.step(bench.clock.now)
    assert bench.server.attempts == 1
    bench.server.before = _nothing
    bench.spool.write(b"Ada\n")
    bench.clock.now += 5
    shipper.step(bench.clock.now)
    assert shipper.finish().complete
    assert bench.server.text == "Name: Ada\n"


def test_events_that_the_server_only_counts_as_bad_are_said(bench: Bench) -> None:
    bench.server.answer = {"added": 0, "errors": 2, "errors_info": {"Invalid task id": 2}}
    bench.spool.write(b"x\n")
    assert bench.shipper().finish().errors == ("the server rejected 2 console events: Invalid task id",)


def test_finish_ships_the_last_line_without_its_end(bench: Bench) -> None:
    bench.spool.write(b"whole\nhalf\xe2\x82")
    delivery = bench.shipper().finish()
    assert bench.server.text == "whole\nhalf\ufffd\ufffd"
    assert delivery.shipped_lines == 2
    assert delivery.shipped_bytes == bench.spool.size()


def test_finish_waits_for_a_server_until_its_deadline_and_may_be_called_again(bench: Bench) -> None:
    bench.server.before = _away
    bench.spool.write(b"x\ny")
    shipper = bench.shipper()
    deadline = bench.clock.now + 20
    delivery = shipper.finish(deadline)
    assert deadline - 10 < bench.clock.now <= deadline
    assert delivery.undelivered_bytes == 3
    assert delivery.errors == ("the server is away",)
    bench.server.before = _nothing
    assert shipper.finish(deadline).complete
    assert bench.server.text == "x\ny"


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


def test_remarks_stand_where_they_were_made(bench: Bench) -> None:
    shipper = bench.shipper(redactor=Redactor(["hunter2hunter2"]))
    shipper.remark("INFO", "pulled")
    bench.spool.write(b"one\nunfinished")
    shipper.remark("ERROR", "stopping, hunter2hunter2\n")
    bench.spool.write(b" line\ntwo\n")
    shipper.step(bench.clock.now)
    assert [(event["level"], event["msg"]) for event in bench.server.events] == [
        ("INFO", "pulled\n"),
        ("DEBUG", "one\n"),
        ("DEBUG", "unfinished"),
        ("ERROR", "\nstopping, ****\n"),
        ("DEBUG", " line\ntwo\n"),
    ]
    assert not bench.shipper().delivery.undelivered_bytes


def test_a_remark_survives_the_runner(bench: Bench) -> None:
    bench.spool.write(b"one\n")
    shipper = bench.shipper()
    shipper.remark("ERROR", "stopping")
    bench.spool.write(b"two\n")
    again = bench.shipper()
    again.finish()
    again.remark("INFO", "done")
    bench.shipper().finish()
    assert bench.server.text == "one\nstopping\ntwo\ndone\n"


def test_a_remark_cut_off_by_a_crash_does_not_harm_the_next(bench: Bench) -> None:
    shipper = bench.shipper()
    shipper.remark("INFO", "whole")
    with (bench.folder / "console.remarks").open("ab") as file:
        file.write(b'{"at": 0, "level": "IN')
    bench.shipper().remark("INFO", "next")
    bench.shipper().finish()
    assert bench.server.text == "whole\nnext\n"


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


def test_a_spool_that_was_cut_off_is_said_and_read_on(bench: Bench) -> None:
    bench.spool.write(b"0123456789\n")
    bench.shipper().finish()
    os.truncate(bench.spool.path, 5)
    shipper = bench.shipper()
    bench.spool.write(b"new\n")
    assert shipper.finish().errors == ("6 bytes of the console file are gone",)
    assert bench.server.text == "0123456789\nnew\n"


@pytest.mark.parametrize("damage", ["", "[]", '{"version":1,"done":{"place":{"offset":3}}}', '{"version":9}'])
def test_a_damaged_record_repeats_and_never_skips(bench: Bench, damage: str) -> None:
    bench.spool.write(b"one\n")
    (bench.folder / RECORD_NAME).write_text(damage)
    bench.shipper().finish()
    assert bench.server.text == "one\n"


def test_a_record_that_cannot_be_written_does_not_stop_the_console(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise Retryable("no space left", code="disk-full")

    monkeypatch.setattr("clearml_agent_clone.logs.record.write_json", full)
    bench.spool.write(b"one\n")
    shipper = bench.shipper()
    shipper.step(bench.clock.now)
    bench.spool.write(b"two\n")
    assert shipper.finish().errors == ("no space left",)
    assert bench.server.text == "one\ntwo\n"


def test_the_screen_shows_the_console_also_while_the_server_is_away(bench: Bench) -> None:
    shown: list[str] = []
    bench.server.before = _away
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


def test_what_is_not_the_agents_own_error_is_a_bug_and_shows(bench: Bench) -> None:
    def bug() -> None:
        raise KeyError("x")

    bench.server.before = bug
    bench.spool.write(b"x\n")
    shipper = bench.shipper()
    with pytest.raises(KeyError):
        shipper.step(bench.clock.now)
    bench.server.before = _nothing
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
