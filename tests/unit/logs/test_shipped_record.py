"""What is written down beside the spool: remarks, the offset, and what harms them."""

from __future__ import annotations

import os

import pytest

from clearml_agent_clone.errors import Retryable
from clearml_agent_clone.logs import Redactor
from clearml_agent_clone.logs.record import RECORD_NAME
from tests.unit.logs.conftest import Bench


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
