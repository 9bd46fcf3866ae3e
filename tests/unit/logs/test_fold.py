from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.logs.fold import Fold

FOLD = Fold()
KEEP = Fold(keep_last_state=False)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\n", "plain\n"),
        ("10%\r50%\r100%\n", "100%\n"),
        ("\r10%\r50%\n", "50%\n"),
        ("50%\r\n", "50%\n"),
        ("50%\r\r\r\n", "50%\n"),
        ("gone\r     \n", "     \n"),
        ("a\r\nb\r\nc\n", "a\nb\nc\n"),
        ("keep\nold\rnew\nkeep\n", "keep\nnew\nkeep\n"),
        ("\r\n", "\n"),
        ("\n\n", "\n\n"),
        ("abc\b\bX\n", "aXc\n"),
        ("1/9\b\b\b2/9\b\b\b3/9\n", "3/9\n"),
        ("|\b/\b-\b\n", "-\n"),
        ("\b\b\bx\n", "x\n"),
        ("old\b\b\bxyz\rnew\n", "new\n"),
        ("one\nt\bT\nthree\n", "one\nT\nthree\n"),
        ("\x1b[31mred\x1b[0m\n", "\x1b[31mred\x1b[0m\n"),
    ],
)
def test_only_the_last_state_of_a_line_is_kept(raw: str, shown: str) -> None:
    assert FOLD.lines(FOLD.line_ends(raw)) == shown


def test_all_states_are_kept_on_demand() -> None:
    assert KEEP.lines(KEEP.line_ends("10%\r50%\r\n\rnext\n")) == "10%\n50%\n\nnext\n"


@pytest.mark.parametrize(
    ("raw", "start", "shown"),
    [("wait: ", 0, "wait: "), ("10%\r50%", 4, "50%"), ("10%\r", 0, "10%"), ("\r10%\r\r20%\r", 6, "20%"), ("\r", 0, "")],
)
def test_an_unfinished_line_has_a_present_state(raw: str, start: int, shown: str) -> None:
    assert FOLD.unfinished(raw) == (start, shown)


@given(st.text(alphabet="ab\r\b", max_size=30))
def test_the_end_of_a_line_does_not_change_its_state(line: str) -> None:
    assert FOLD.lines(line + "\n") == FOLD.unfinished(line)[1] + "\n"


@pytest.mark.parametrize(
    ("data", "folded", "kept"),
    [(b"a\nb", 2, 2), (b"a\rb", 0, 2), (b"a\r", 0, 0), (b"a\r\n", 3, 3), (b"", 0, 0), (b"a\rb\r", 0, 2)],
)
def test_where_complete_lines_end(data: bytes, folded: int, kept: int) -> None:
    assert FOLD.complete(data) == folded
    assert KEEP.complete(data) == kept


def test_a_line_of_backspaces_takes_no_longer_than_it_is_long() -> None:
    assert FOLD.lines("ab\b" * 100_000 + "\n") == "a" * 100_000 + "b\n"
