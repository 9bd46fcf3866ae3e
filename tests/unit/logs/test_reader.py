"""Any split of any bytes reads as one write; a place written down is all that is needed to go on."""

from __future__ import annotations

import codecs
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from clearml_agent_clone.logs import Fold, Redactor, Spool, reader, redact
from clearml_agent_clone.logs.reader import Place, Reader
from clearml_agent_clone.logs.tail import Tail

SECRETS = ("hunter2hunter2", "straße-geheim")
TOKEN = "ghp_" + "x1" * 15
BYTES = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r", b"\r\n", b"\b", b"\0", b"\xff", b"\xe2\x82", "€".encode(), b"\x1b[31m", b" "]),
        st.sampled_from([SECRETS[0].encode(), SECRETS[1].encode(), SECRETS[0][:7].encode(), SECRETS[1][:5].encode()]),
        st.sampled_from([TOKEN.encode(), b"ghp_x", b"https://u:p@h", b"Authorization: Bearer abc123abc123abc123"]),
        st.binary(max_size=4),
        st.text(alphabet="abz ", max_size=6).map(str.encode),
    ),
    max_size=14,
).map(b"".join)
PLAIN = BYTES.map(lambda data: data.replace(b"\r", b"").replace(b"\b", b""))


@attrs.define
class Reading:
    """A spool that grows, and one who reads it and may be replaced by another at any time."""

    spool: Spool
    keep_last_state: bool = True
    text: str = ""
    now: float = 0.0
    place: Place = attrs.Factory(Place)
    tail: Tail = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        fold = Fold(keep_last_state=self.keep_last_state)
        self.tail = Tail(Reader(self.spool, Redactor(SECRETS), fold), self.place)

    def read(self, *, flush: bool = False, final: bool = False) -> None:
        most = reader.LONG_LINE
        while (piece := self.tail.next(self.now, self.spool.size(), most, flush=flush, final=final)) is not None:
            self.text += piece.text
            self.tail.accept(piece)
            self.place = self.tail.place

    def pass_time(self) -> None:
        """Look twice, more than the longest patience apart: an unfinished line becomes due."""
        self.read()
        self.now += 10.0
        self.read()


def spooled() -> Iterator[Spool]:
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool.create(Path(folder))
        yield spool
        spool.close()


def expected(data: bytes, *, keep_last_state: bool = True) -> str:
    """The console as it is to be read, by another way."""
    text = data.decode("utf-8", "surrogateescape")
    if not keep_last_state:
        text = re.sub("\r(?!\n)", "\n", text.removesuffix("\r")).replace("\r", "")
    lines = [_last_state(line) for line in text.split("\n")]
    shown = Redactor(SECRETS).redact("\n".join(lines)).replace("\0", "\u2400")
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in shown)


def _once(text: str) -> str:
    """A secret that is longer than what is held back gets a mask for each of its parts."""
    return re.sub(r"(\*{4})+", "*", text)


def _whole(text: str) -> str:
    """Up to three letters of a secret may have been shown before it was one, and signs between two that overlap."""
    for pattern in (r"(?<=\*{4})\W+", r"(?:hun|hu|h|str|st|s)(?=\*{4})|(?<=\*{4})(?:hun|hu|h)", r"(?<=\*{4})\W+"):
        text = re.sub(pattern, "", text)
    return text


def _last_state(line: str) -> str:
    cells: list[str] = []
    at = 0
    for character in line.rstrip("\r").rpartition("\r")[2]:
        if character == "\b":
            at = max(0, at - 1)
        else:
            cells[at : at + 1] = [character]
            at += 1
    return "".join(cells)


@given(BYTES, st.lists(st.tuples(st.integers(0, 60), st.booleans()), max_size=6), st.booleans())
@example(b"a\r\nb\r", [(2, False), (2, True)], False)
def test_any_split_of_any_bytes_reads_as_one_write(
    data: bytes, cuts: list[tuple[int, bool]], keep_last_state: bool
) -> None:
    for spool in spooled():
        reading = Reading(spool, keep_last_state)
        begin = 0
        for length, restarted in cuts:
            spool.write(data[begin : begin + length])
            begin += length
            reading.read()
            if restarted:
                reading.restart()
        spool.write(data[begin:])
        reading.read(final=True)
        assert _whole(reading.text) == _whole(expected(data, keep_last_state=keep_last_state))
        assert reading.place.offset == len(data)


@given(PLAIN, st.lists(st.tuples(st.integers(0, 60), st.sampled_from(["", "wait", "flush", "restart"])), max_size=6))
@example(b"Name: \xe2\x82\xac", [(7, "wait"), (1, "wait")])
def test_a_line_shown_unfinished_is_continued_and_not_repeated(data: bytes, cuts: list[tuple[int, str]]) -> None:
    for spool in spooled():
        reading = Reading(spool)
        begin = 0
        for length, event in cuts:
            spool.write(data[begin : begin + length])
            begin += length
            reading.read(flush=event == "flush")
            if event == "wait":
                reading.pass_time()
            elif event == "restart":
                reading.restart()
        spool.write(data[begin:])
        reading.read(final=True)
        assert _whole(reading.text) == _whole(expected(data))


@settings(deadline=None)  # hundreds of restarts
@given(PLAIN, st.integers(1, 5), st.lists(st.integers(0, 200), max_size=5))
@example(b"ghp_x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1stra\xc3\x9fe-geheim", 1, [40])  # a letter that is no ASCII at the end
def test_a_long_line_is_read_in_parts_and_no_secret_in_it_is_missed(data: bytes, times: int, cuts: list[int]) -> None:
    data = data.replace(b"\n", b"-") * times
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "LONG_LINE", 80)
        patch.setattr(redact, "_LONGEST_HELD", 32)
        for spool in spooled():
            reading = Reading(spool)
            begin = 0
            for length in cuts:
                spool.write(data[begin : begin + length])
                begin += length
                reading.pass_time()
                reading.restart()
            spool.write(data[begin:])
            reading.read(final=True)
            assert not any(secret in reading.text for secret in SECRETS)
            if b"://" not in data and b"Bearer" not in data:  # two heads in one run are too much for so small a bound
                assert _once(_whole(reading.text)) == _once(_whole(expected(data)))


@settings(deadline=None)  # hundreds of restarts
@given(BYTES, st.integers(1, 40), st.lists(st.tuples(st.integers(0, 200), st.booleans()), max_size=5))
def test_a_long_redrawn_line_ends_and_shows_its_last_state(
    data: bytes, times: int, cuts: list[tuple[int, bool]]
) -> None:
    data = data.replace(b"\n", b"") * times + b"\rlast"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "LONG_LINE", 80)
        patch.setattr(redact, "_LONGEST_HELD", 32)
        for spool in spooled():
            reading = Reading(spool)
            begin = 0
            for length, keep in cuts:
                spool.write(data[begin : begin + length])
                begin += length
                reading.pass_time()
                if not keep:
                    reading.restart()
            spool.write(data[begin:])
            reading.read(final=True)
            assert reading.text.endswith("last")
            assert not any(secret in reading.text for secret in SECRETS)
            assert reading.place.offset == len(data)


def test_a_long_line_that_is_overwritten_is_redrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LONG_LINE", 80)
    spool = Spool.create(tmp_path)
    reading = Reading(spool)
    spool.write(b"a" * 100)
    reading.read(flush=True)
    spool.write(b"\r" * 80)
    reading.read(flush=True)
    spool.write(b"last\n")
    reading.read()
    assert reading.text == "a" * 100 + "\nlast\n"
    spool.write(b"b" * 100 + b"\r" + b"c" * 100 + b"\n")
    reading.read()
    assert reading.text.splitlines()[-1] == "c" * 100
    spool.close()


def test_a_progress_bar_is_redrawn_on_lines_of_its_own_while_it_runs(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    reading = Reading(spool)
    spool.write(b"start\n\r 10%|#")
    reading.pass_time()
    spool.write(b"\r 20%|##")
    reading.pass_time()
    spool.write(b"\r 20%|##")
    reading.pass_time()
    assert reading.text == "start\n 10%|#\n 20%|##"
    spool.write(b"\r100%|####\ndone\n")
    reading.read()
    assert reading.text == "start\n 10%|#\n 20%|##\n100%|####\ndone\n"
    spool.close()


def test_a_secret_shown_half_is_not_shown(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    reading = Reading(spool)
    spool.write(b"key: hunter2")
    reading.pass_time()
    assert reading.text == "key: "
    spool.write(b"hunter2 ok")
    reading.pass_time()
    assert reading.text == "key: **** ok"
    spool.write(b"\nhunter2")
    reading.read(final=True)
    assert reading.text == "key: **** ok\nhunter2"
    spool.close()


def test_half_a_character_waits_for_the_other_half(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    reading = Reading(spool)
    spool.write("naïve €".encode()[:-1])
    reading.pass_time()
    assert reading.text == "naïve "
    spool.write("€".encode()[-1:])
    reading.pass_time()
    assert reading.text == "naïve €"
    spool.write(b"\xe2\x82")
    reading.read(final=True)
    assert reading.text == "naïve €\ufffd\ufffd"
    spool.close()


def test_noise_is_passed_on_as_text(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    reading = Reading(spool)
    noise = bytes(range(256)).replace(b"\r", b"").replace(b"\b", b"")
    spool.write(noise * 3000)
    reading.read(final=True)
    assert len(reading.text) == len(codecs.decode(noise, "latin-1")) * 3000
    reading.text.encode()
    spool.close()
