"""The disk has a bound: what is shipped is given back, what waits too long is given up, and a full disk is survived."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.logs import Redactor, Screen, Shipper, Spool
from clearml_agent_clone.logs.gaps import GAPS_NAME, Gaps
from clearml_agent_clone.logs.keeper import Keeper
from clearml_agent_clone.logs.record import load_record
from clearml_agent_clone.logs.spool import RESERVE
from tests.unit.logs.conftest import Bench, away, nothing

MIB = 1 << 20
LIMIT = 8 * MIB
NEVER_FULL = 1 << 50
MISSING = re.compile(r"clearml_agent: WARNING: (\d+) lines \((\d+) bytes\) of the console are missing here: .*\n")


def _numbered(begin: int, count: int) -> bytes:
    return b"".join(b"line %09d %s\n" % (number, b"of a long console" * 59) for number in range(begin, begin + count))


def _flood(bench: Bench, shipper: Shipper, megabytes: int, begin: int = 0) -> int:
    """Write numbered lines while the server is away; the number after the last."""
    count = MIB // len(_numbered(0, 1))
    for _ in range(megabytes):
        bench.spool.write(_numbered(begin, count))
        begin += count
        shipper.keeper.step(bench.clock.now)
        bench.step(shipper)
    return begin


def _used(spool: Spool) -> int:
    return spool.path.stat().st_blocks * 512


def _check(text: str, count: int) -> tuple[int, int]:
    """Every one of ``count`` lines is there, once and in order, or is counted as missing; lines and bytes of these."""
    expected = lines = size = 0
    for line in text.splitlines(keepends=True):
        gap = MISSING.fullmatch(line)
        if gap:
            expected += int(gap[1])
            lines += int(gap[1])
            size += int(gap[2])
        else:
            assert line == _numbered(expected, 1).decode()
            expected += 1
    assert expected == count
    return lines, size


@pytest.fixture(autouse=True)
def _needs_holes(bench: Bench) -> None:
    bench.spool.write(b"x" * 4096)
    holes = bench.spool.punch(0, 4096)
    os.truncate(bench.spool.path, 0)
    if not holes:
        pytest.skip("this file system cannot give parts of a file back")


def test_a_flood_while_the_server_is_away_keeps_its_beginning_and_its_end(bench: Bench) -> None:
    shipper = bench.shipper(most_waiting=LIMIT)
    bench.server.before = away
    count = _flood(bench, shipper, 40)
    assert _used(bench.spool) <= LIMIT + RESERVE + 2 * MIB
    bench.server.before = nothing
    delivery = shipper.finish()
    lines, size = _check(bench.server.text, count)
    assert size > 30 * MIB
    assert (delivery.dropped_lines, delivery.dropped_bytes) == (lines, size)
    assert delivery.shipped_bytes + size == bench.spool.size()
    assert not delivery.complete
    assert sum("missing" in event["msg"] for event in bench.server.events) == 1
    (said,) = (event for event in bench.server.events if "missing" in event["msg"])
    assert said["level"] == "WARNING"
    first, last = bench.server.events[0]["msg"], bench.server.events[-1]["msg"]
    assert first.startswith("line 000000000 ")
    assert last.endswith(_numbered(count - 1, 1).decode())


def test_floods_and_outages_by_turns_count_every_line(bench: Bench) -> None:
    shipper = bench.shipper(most_waiting=LIMIT, keep_bytes=MIB)
    count = 0
    for turn in range(3):
        bench.server.before = away
        count = _flood(bench, shipper, 14, count)
        bench.server.before = nothing
        bench.clock.now += 60
        for _ in range(turn):
            bench.step(shipper)
        if turn == 1:
            shipper = bench.shipper(most_waiting=LIMIT, keep_bytes=MIB)  # a new runner
        assert _used(bench.spool) <= LIMIT + RESERVE + 3 * MIB
    shipper.finish()
    lines, _ = _check(bench.server.text, count)
    assert lines
    assert load_record(bench.folder).done.dropped_lines == lines


def test_nothing_is_given_up_that_fits(bench: Bench) -> None:
    shipper = bench.shipper(most_waiting=LIMIT)
    bench.server.before = away
    count = _flood(bench, shipper, 7)
    bench.server.before = nothing
    assert shipper.finish().complete
    assert _check(bench.server.text, count) == (0, 0)


def test_a_line_without_end_is_given_up_too(bench: Bench) -> None:
    shipper = bench.shipper(most_waiting=LIMIT)
    bench.server.before = away
    bench.spool.write(b"begin ")
    for _ in range(20):
        bench.spool.write(b"x" * MIB)
        shipper.keeper.step(bench.clock.now)
    bench.spool.write(b" end\nnext\n")
    bench.server.before = nothing
    delivery = shipper.finish()
    assert delivery.dropped_bytes > 10 * MIB
    assert "x\nclearml_agent: WARNING: 0 lines (" in bench.server.text
    assert bench.server.text.endswith("x end\nnext\n")


def test_no_half_of_a_secret_is_left_where_console_was_given_up(bench: Bench) -> None:
    secret = "a-secret-of-some-length-0123456789"
    shipper = bench.shipper(most_waiting=LIMIT, redactor=Redactor([secret]))
    bench.server.before = away
    for _ in range(16):
        bench.spool.write(f"{secret} ".encode() * (MIB // (len(secret) + 1)))
        shipper.keeper.step(bench.clock.now)
    bench.server.before = nothing
    assert shipper.finish().dropped_bytes
    assert not re.search("[0-9]{3}|secret-of|some-len", MISSING.sub("", bench.server.text))


def test_half_of_the_free_space_is_the_limit_where_that_is_less(bench: Bench) -> None:
    free = 20 * MIB
    gaps = Gaps(bench.spool, bench.folder)
    keeper = Keeper(
        bench.spool,
        gaps,
        lambda: 0,
        lambda *_: None,
        keep_bytes=0,
        most_waiting=0,
        free=lambda: free - _used(bench.spool),
    )
    for _ in range(19):
        bench.spool.write(_numbered(0, 1024))
        keeper.step(0.0)
        assert _used(bench.spool) <= free // 2 + RESERVE + 2 * MIB
    assert gaps.missing(0)


def test_what_is_being_read_is_not_given_up(bench: Bench) -> None:
    gaps = Gaps(bench.spool, bench.folder)
    bench.spool.write(_numbered(0, 4000))
    assert gaps.enter(0, 500_000) is None
    gaps.drop(1000, 2_000_000)
    gap = gaps.enter(0, 100_000)
    assert gap is not None
    assert gap.begin >= 500_000
    assert bench.spool.read(gap.begin - 1, 1) == b"\n"
    assert bench.spool.read(gap.begin, 10) == bytes(10)
    gaps.enter(gap.begin, 100_000)  # on the point of telling of it: from here on it stays as it is
    gaps.drop(0, 3_000_000)
    assert gaps.enter(gap.begin, 1) == gap
    assert gaps.missing(0) > gap.size
    again = Gaps(bench.spool, bench.folder)
    assert again.missing(0) == gaps.missing(0)
    assert (bench.folder / GAPS_NAME).stat().st_size == 4096


def test_where_nothing_can_be_freed_nothing_is_given_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "punch", lambda *_: False)
    shipper = bench.shipper(most_waiting=LIMIT)
    bench.server.before = away
    count = _flood(bench, shipper, 12)
    bench.server.before = nothing
    assert shipper.finish().complete
    assert _check(bench.server.text, count) == (0, 0)


def test_a_screen_that_was_held_up_goes_on_behind_what_is_gone(bench: Bench) -> None:
    shown: list[str] = []
    shipper = bench.shipper(most_waiting=LIMIT, keep_bytes=MIB, screens=(Screen(shown.append),))
    bench.server.before = away
    count = _flood(bench, shipper, 20)
    (echo,) = shipper.echoes
    echo.step(bench.clock.now)
    assert _check("".join(shown), count)[0] > 0
    bench.server.before = nothing
    bench.clock.now += 60
    count = _flood(bench, shipper, 6, count)
    shipper.finish()
    assert "\u2400" not in "".join(shown)
    assert "bytes were not shown in time" in "".join(shown)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("cannot mount here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)


def test_a_full_disk_does_not_fail_the_tasks_print(small_disk: Path, bench: Bench) -> None:
    spool = Spool.create(small_disk)
    bench = Bench(small_disk, spool)
    shipper = bench.shipper()
    shipper.keeper.step(0.0)
    (small_disk / "data").write_bytes(b"x" * (24 * MIB - _used(spool) - 64 * 1024))
    _fill(small_disk / "rest")
    script = (
        "import os, sys\n"
        "for number in range(int(sys.argv[1]), int(sys.argv[2])):\n"
        "    print(f'line {number:09d}', 'of a long console' * 59, flush=number % 4 == 0)\n"
    )
    for begin in range(0, 15 * 1024, 3 * 1024):
        writer = [sys.executable, "-c", script, str(begin), str(begin + 3 * 1024)]
        subprocess.run(writer, stdout=spool.fd, stderr=subprocess.PIPE, check=True)
        while bench.step(shipper) == 0:
            pass
        shipper.keeper.step(0.0)
    shipper.finish()
    said = "clearml_agent: WARNING: no space left"
    lines = [line for line in bench.server.text.splitlines(keepends=True) if not line.startswith(said)]
    assert _check("".join(lines), 15 * 1024) == (0, 0)
    assert bench.server.text.count(said) <= 1
    spool.close()


def test_on_a_full_disk_the_agents_own_words_are_counted_and_said(small_disk: Path) -> None:
    (small_disk / "data").write_bytes(b"x" * (24 * MIB - 4096 * 6))
    spool = Spool.create(small_disk)
    bench = Bench(small_disk, spool)
    shipper = bench.shipper()
    shipper.keeper.step(0.0)
    bench.spool.write(b"x" * 100_000)
    shipper.keeper.step(0.0)
    delivery = shipper.finish()
    assert spool.dropped > 50_000
    assert f"{spool.dropped} bytes of the agent's own could not be written" in delivery.errors
    assert "no space left on the disk" in bench.server.text
    spool.close()
