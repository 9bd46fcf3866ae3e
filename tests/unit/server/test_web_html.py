"""Escaping, and what terminals send."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.server.events.curves import Curve
from clearml_agent_clone.server.web.charts import chart
from clearml_agent_clone.server.web.html import Html, html, link, own_link
from clearml_agent_clone.server.web.terminal import readable
from clearml_agent_clone.server.web.values import duration, moment, size


class Collector(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Collector:
    collector = Collector()
    collector.feed(page)
    collector.close()
    return collector


@given(value=st.text(st.sampled_from("aZ é漢\"'<>&;#/={}x\u202e\n\t")))
def test_a_value_stays_text(value: str) -> None:
    found = read(html('<p title="{value}">{value}</p>', value=value))
    assert found.tags == ["p"]
    assert found.attributes == [("title", value)]
    assert found.text == value


def test_html_goes_in_as_it_is_and_lists_piece_by_piece() -> None:
    assert html("{a}{b}", a=Html("<b>"), b=["<", None, Html("<i>")]) == "<b>&lt;<i>"


def test_a_value_is_no_template() -> None:
    assert html("{a}", a="{b}", b="x") == "{b}"


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "file:///etc/passwd",
        "",
        "s3://bucket/x",
        "https:evil",
        "http://[",
        "/\\evil.example",
        "/projects/x",
    ],
)
def test_dangerous_links_are_text(url: str) -> None:
    assert link(url, "<x>") == "&lt;x&gt;"


@pytest.mark.parametrize("url", ["http://h:1/a?b=1&c=2", "https://h"])
def test_links(url: str) -> None:
    assert read(link(url, "x")).attributes[0] == ("href", url)


def test_own_links_cannot_leave() -> None:
    found = read(own_link("x", "projects", "/\\evil.example/..", "*", older="1&2"))
    assert found.attributes == [("href", "/projects/%2F%5Cevil.example%2F../*?older=1%262")]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("10%\r50%\r100%\nnext", "100%\nnext"),
        ("50%\r", "50%"),
        ("a\r\nb", "a\nb"),
        ("a\x1b[", "a"),
        ("a\x00\x08b\tc", "ab\tc"),
        ("\x1b(Bplain", "plain"),
        ("\x1bPq#0\x1b\\x", "x"),
    ],
)
def test_terminal_output(sent: str, shown: str) -> None:
    assert readable(sent) == shown


def test_terminal_output_of_a_megabyte_is_quick() -> None:
    assert readable("\x1b]" * 200_000) == ""
    assert readable("\x1b[" + "1;" * 500_000) == ""


def test_chart_with_hostile_names() -> None:
    found = read(chart('"><script>', [Curve("m", "</svg><script>", ((0, 1.0), (5, 3.0)))]))
    assert "script" not in found.tags
    assert ("points", "4.0,116.0 316.0,4.0") in found.attributes


def test_chart_of_extremes() -> None:
    assert chart("m", [Curve("m", "v", ())]) == ""
    for points in (((1, 2.0),), ((1, -1.7e308), (2, 1.7e308)), ((1, 5.0), (2, 5.0))):
        assert "nan" not in chart("m", [Curve("m", "v", points)])


def test_values() -> None:
    assert [duration(1), duration(61), duration(3720), duration(None)] == ["1 s", "1 min 01 s", "1 h 02 min", ""]
    assert [size(18), size(2048), size(None)] == ["18 bytes", "2.0 KiB", ""]
    assert read(str(moment("2026-11-20T19:50:09.476000+00:00"))).text == "2026-11-20 19:50:09 UTC"
    assert moment("yesterday") == ""
