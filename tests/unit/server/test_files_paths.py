"""File names that clients send."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.server.files.paths import BadPath, find, locate, path_of
from clearml_agent_clone.server.files.serve import content_type


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = tmp_path.resolve() / "files"
    place.mkdir()
    return place


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("a/b.txt", "a/b.txt"),
        ("/a//b.txt", "a/b.txt"),
        ("a/b/", "a/b"),
        ("a/..b/...", "a/..b/..."),
        ("%2e%2e/x", "%2e%2e/x"),
        ("a\\..\\b", "a\\..\\b"),
        ("ünï/çø dé", "ünï/çø dé"),
    ],
)
def test_inside(root: Path, name: str, place: str) -> None:
    assert locate(root, name) == root / place


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "..",
        "../x",
        "a/../../x",
        "a/..",
        "./a",
        ".incoming/x",
        "/.incoming",
        "a\x00b",
        "a\nb",
        "a\x1b[0mb",
        "x" * 256,
        "x/" * 2000,
        "a\ud800b",
    ],
)
def test_refused(root: Path, name: str) -> None:
    with pytest.raises(BadPath):
        locate(root, name)


def test_symbolic_links_are_no_way_out(root: Path) -> None:
    (root / "out").symlink_to("/etc")
    (root / "here").mkdir()
    (root / "in").symlink_to(root / "here")
    for name in ("out", "out/passwd", "in/x"):
        with pytest.raises(BadPath):
            locate(root, name)


def test_a_quoted_spelling_is_found(root: Path) -> None:
    (root / "a %22b%22" / "%2541").mkdir(parents=True)
    (root / "%2e%2e").symlink_to("/etc")
    assert find(root, 'a "b"/%41') == root / "a %22b%22/%2541"
    assert find(root, 'a "b"/A') == root / "a %22b%22/A"
    (root / 'a "b"').mkdir()
    assert find(root, 'a "b"/%41') == root / 'a "b"/%41'
    for name in ("../passwd", "%2e%2e/passwd"):
        with pytest.raises(BadPath):
            find(root, name)


@given(
    name=st.text(st.sampled_from("a./\\%\x00é\ud800"))
    | st.lists(st.sampled_from(["..", ".", "", "a", "%2e%2e", "\\"])).map("/".join)
)
def test_never_outside(name: str) -> None:
    root = Path("/nowhere/files")
    try:
        place = locate(root, name)
    except BadPath:
        return
    assert place != root
    assert root in place.parents
    assert ".." not in place.parts


def test_references() -> None:
    assert path_of("http://host:8081/a%20b/c?download#x") == "/a b/c"
    assert path_of("a/b") == "a/b"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.png", "image/png"),
        ("x.log", "text/plain"),
        ("x.tar.gz", "application/gzip"),
        ("x", "application/octet-stream"),
    ],
)
def test_content_type(name: str, kind: str) -> None:
    assert content_type(name) == kind
