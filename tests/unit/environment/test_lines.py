from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.environment.lines import expand, split_lines


def texts(text: str) -> list[str]:
    return [line.text for line in split_lines(text, "r.txt")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\ufeffsix\r\n\r\niniconfig\r\n", ["six", "iniconfig"]),
        ("# Python 3.11.7 | packaged\n\n  six == 1.16  # why\n", ["six == 1.16"]),
        ("six==1.16 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\nattrs", None),
        ("# a comment that ends so \\\nsix", ["six"]),
        ("git+https://h/x.git@main#egg=x", ["git+https://h/x.git@main#egg=x"]),
        ("six \\", ["six"]),
        ("\\ -f https://h", ["-f https://h"]),
        ("six \\ # why\nidna\\ -f https://h", ["six", "idna", "-f https://h"]),
        ("six\\\\\n==1.0 \\ \n  # why\nidna", ["six==1.0", "idna"]),
        ("", []),
    ],
)
def test_logical_lines(text: str, expected: list[str] | None) -> None:
    if expected is None:
        first, second = texts(text)
        assert first.split() == ["six==1.16", "--hash=sha256:aa", "--hash=sha256:bb"]
        assert second == "attrs"
    else:
        assert texts(text) == expected


def test_a_line_knows_where_it_stood() -> None:
    lines = list(split_lines("six\n\nattrs \\\n  >=1\nlast", "r.txt"))
    assert [line.origin for line in lines] == ["r.txt:1", "r.txt:3", "r.txt:5"]


@pytest.mark.parametrize(
    ("text", "option", "value"),
    [
        ("-r base.txt", "--requirement", "base.txt"),
        ("-rbase.txt", "--requirement", "base.txt"),
        ("--requirement=base.txt", "--requirement", "base.txt"),
        ('-r "my base.txt"', "--requirement", "my base.txt"),
        ("-e .[dev]", "--editable", ".[dev]"),
        ("-i https://h/simple", "--index-url", "https://h/simple"),
        ("--extra-index-url=https://h/s?a=b", "--extra-index-url", "https://h/s?a=b"),
        ("--no-index", "--no-index", ""),
        ("--", "--", ""),
        ("-", "-", ""),
    ],
)
def test_options(text: str, option: str, value: str) -> None:
    (line,) = split_lines(text, "r.txt")
    assert (line.option, line.value) == (option, value)


def test_includes_are_found_beside_the_file_then_in_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "near.txt").write_text("near\n-r ../far.txt\n")
    (tmp_path / "far.txt").write_text("far\n-c limits.txt\n--pre\n")
    (tmp_path / "limits.txt").write_text("low<2\n")
    listing = expand("first\n-r near.txt\n-r far.txt\nlast", "r.txt", tmp_path / "sub", tmp_path)
    assert [line.text for line in listing.packages] == ["first", "near", "far", "far", "last"]
    assert [line.text for line in listing.constraints] == ["low<2", "low<2"]
    assert [line.text for line in listing.options] == ["--pre", "--pre"]
    assert listing.notes == ()


def test_a_circle_and_a_missing_file_are_left_out_and_noted(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\n-r b.txt\n")
    (tmp_path / "b.txt").write_text("b\n-r a.txt\n-r gone.txt\n")
    listing = expand("-r a.txt", "r.txt", tmp_path, tmp_path)
    assert [line.text for line in listing.packages] == ["a", "b"]
    assert [note.split(": ", 2)[2] for note in listing.notes] == [
        "left out, the file includes itself",
        "left out, there is no such file",
    ]


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    listing = expand(text, "r.txt", Path("/nowhere"), None)
    assert all(line.text == line.text.strip() and line.text for line in listing.packages + listing.options)


@given(st.lists(st.sampled_from(["six==1.0", "# note", "", "a>=1 # x", "b[x]~=2; python_version>'3'", "./c", "d @ e"])))
def test_order_is_kept(lines: list[str]) -> None:
    kept = [line.split(" #")[0] for line in lines if line and not line.startswith("#")]
    assert texts("\n".join(lines)) == kept
