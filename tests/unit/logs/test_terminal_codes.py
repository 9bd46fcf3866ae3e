"""What programs do to terminals, and what of it stays in a log."""

from __future__ import annotations

import pytest

from tests.unit.logs.conftest import Bench


def _tqdm(states: int) -> bytes:
    """Two nested bars as tqdm draws them: the inner one a line below, then up again."""
    parts = []
    for outer in range(states):
        parts.append(f"\router: {outer}/{states}")
        parts.extend(f"\n\rinner: {inner}/{states}\x1b[A" for inner in range(states))
        parts.append(f"\n\r{' ' * 20}\r\x1b[A")
    parts.append(f"\router: {states}/{states}\nafter\n")
    return "".join(parts).encode()


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
        (b"downloading 10%\r\x1b[Kdownloading 90%\r\x1b[Kdone\n", "\x1b[Kdone\n"),
        (b"one\x1b[2K\rtwo\n", "two\n"),
        (b"|\b/\b-\b\\\bdone\n", "done\n"),
        (b"abc\b\b\bxy\n", "xyc\n"),
        (b"up\x1b[1A\x1b[2Kover\n", "up\x1b[1A\x1b[2Kover\n"),
        (b"bell\a tab\t form\f\n", "bell\a tab\t form\f\n"),
        (b"\x00\xff\xfe\xed\xa0\x80\n", "\u2400\ufffd\ufffd\ufffd\ufffd\ufffd\n"),
        (b"\r\n\r\r\n", "\n\n"),
        (b"10%\r20%\r", "20%"),
        (b"\x1b]0;title\x07text\n", "\x1b]0;title\x07text\n"),
    ],
)
def test_what_stays(bench: Bench, printed: bytes, shown: str) -> None:
    bench.spool.write(b"begin\n" + printed)
    bench.shipper().finish()
    assert bench.server.text == "begin\n" + shown


def test_nested_bars_end_with_their_last_states_and_lose_no_line(bench: Bench) -> None:
    bench.spool.write(b"before\n" + _tqdm(20))
    bench.shipper().finish()
    lines = bench.server.text.split("\n")
    assert lines[0] == "before"
    assert len(lines) < 30
    assert [line for line in lines if line.startswith("outer")] == [f"outer: {number}/20" for number in range(21)]
    assert lines[-3:] == ["outer: 20/20", "after", ""]


def test_binary_noise_of_a_megabyte_is_counted_line_by_line(bench: Bench) -> None:
    noise = bytes(range(256)) * 4096
    bench.spool.write(noise + b"\nlast\n")
    delivery = bench.shipper().finish()
    assert delivery.complete
    assert delivery.shipped_bytes == len(noise) + 6
    assert bench.server.text.endswith("\nlast\n")
    assert delivery.shipped_lines == noise.count(b"\n") + 2
