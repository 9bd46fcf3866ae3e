"""Uncommitted changes, as real ``git diff`` writes them, put into a checkout byte for byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import SourceSettings

from .conftest import Fetch, Recorder, Upstream

Change = Callable[[Upstream], None]


def tree(root: Path) -> dict[str, tuple[str, bytes]]:
    """Every file with its kind and content, but git's own."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()).encode())
        elif path.is_file() and not name.startswith(".git/"):
            found[name] = ("x" if path.stat().st_mode & 0o100 else "-", path.read_bytes())
    return found


@attrs.frozen
class Prepared:
    """A repository with all kinds of files that many tests share, and its commit."""

    upstream: Upstream
    commit: str
    settings: SourceSettings


@pytest.fixture(scope="module")
def prepared(template: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(template.path, folder / "project", symlinks=True)
    upstream = Upstream(folder / "project")
    settings = SourceSettings(vcs_cache_path=folder / "cache", allow_local=True, attempts=1)
    return Prepared(upstream, prepare(upstream), settings)


def prepare(upstream: Upstream) -> str:
    upstream.write("data/numbers.txt", "".join(f"line {number}\n" for number in range(60)))
    upstream.write("windows.txt", "one\r\ntwo\r\nthree\r\n")
    upstream.write("mixed.txt", "one\r\ntwo\nthree\r\n")
    upstream.write("no_end.txt", "a\nb\nc")
    upstream.write("empty.txt", "")
    upstream.write("picture.bin", bytes(range(256)) * 40)
    upstream.write("with blank.txt", "x\ny\n")
    upstream.write("ümlaut.txt", "ä\nö\n")
    upstream.write("latin.txt", b"caf\xe9\nx\n")
    (upstream.path / "link").symlink_to("model.py")
    return upstream.commit("all kinds of files")


def modify(upstream: Upstream) -> None:
    lines = (upstream.path / "data/numbers.txt").read_text().splitlines(keepends=True)
    lines[3], lines[50] = "changed\n", "also changed\n"
    upstream.write("data/numbers.txt", "".join(lines))


def add(upstream: Upstream) -> None:
    upstream.write("new/folder/file.py", "print('new')\n")
    upstream.write("new/empty.py", "")
    upstream.git("add", "--all")


def delete(upstream: Upstream) -> None:
    (upstream.path / "data/numbers.txt").unlink()
    (upstream.path / "empty.txt").unlink()


def rename(upstream: Upstream) -> None:
    upstream.git("mv", "data/numbers.txt", "moved.txt")
    text = (upstream.path / "moved.txt").read_text()
    upstream.write("moved.txt", text.replace("line 30\n", "thirty\n"))


def copy(upstream: Upstream) -> None:
    shutil.copy(upstream.path / "data/numbers.txt", upstream.path / "copied.txt")
    upstream.git("add", "--all")


def modes(upstream: Upstream) -> None:
    (upstream.path / "tools/make.sh").chmod(0o755)
    (upstream.path / "train.py").chmod(0o755)
    upstream.write("train.py", "print('executable')\n")


def binary(upstream: Upstream) -> None:
    upstream.write("picture.bin", bytes(reversed(range(256))) * 50)
    upstream.write("second.bin", os.urandom(5000))
    upstream.git("add", "--all")


def windows(upstream: Upstream) -> None:
    upstream.write("windows.txt", "one\r\nTWO\r\nthree\r\nfour\r\n")
    upstream.write("mixed.txt", "one\r\nTWO\nthree\r\n")


def no_end(upstream: Upstream) -> None:
    upstream.write("no_end.txt", "a\nb\nchanged")
    upstream.write("model.py", "def answer():\n    return 43")


def names(upstream: Upstream) -> None:
    upstream.write("with blank.txt", "x\nz\n")
    upstream.write("ümlaut.txt", "ä\nü\n")
    upstream.write("latin.txt", b"caf\xe9\n\xff\n")
    upstream.write('quo"te\ttab.txt', "odd\n")
    upstream.git("add", "--all")


def links(upstream: Upstream) -> None:
    (upstream.path / "link").unlink()
    (upstream.path / "link").symlink_to("train.py")
    (upstream.path / "second").symlink_to("no/where")
    upstream.git("add", "--all")


def staged_and_not(upstream: Upstream) -> None:
    upstream.write("model.py", "def answer():\n    return 1\n")
    upstream.git("add", "--all")
    upstream.write("train.py", "import model\nprint(model.answer(), 'staged and not')\n")


def looks_like_a_diff(upstream: Upstream) -> None:
    upstream.write("model.py", "# -- a/x\n-- a/x\n++ b/x\n@@ -1 +1 @@\ndiff --git a/q b/q\n")
    upstream.write("notes.txt", "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1,9 +1,9 @@\n")
    upstream.git("add", "--all")


def type_change(upstream: Upstream) -> None:
    (upstream.path / "link").unlink()
    upstream.write("link", "now a file\n")


def everything(upstream: Upstream) -> None:
    for change in (add, rename, modes, binary, windows, no_end, names):
        change(upstream)


CHANGES: list[Change] = [
    modify, add, delete, rename, copy, modes, binary, windows, no_end, names, links, staged_and_not,
    looks_like_a_diff, type_change, everything,
]  # fmt: skip
SDK = ["--src-prefix=a/", "--dst-prefix=b/", "--submodule=diff"]
OTHERS = [["--no-prefix"], ["--unified=0"], ["--find-copies-harder", "--src-prefix=old/", "--dst-prefix=new/"]]
CASES = [(change, SDK) for change in CHANGES] + [
    (change, options) for change in (modify, add, delete, rename, names, everything) for options in OTHERS
]


@pytest.mark.parametrize(
    ("change", "options"), CASES, ids=[f"{change.__name__}{options[-1]}" for change, options in CASES]
)
def test_the_tree_is_exactly_the_authors(prepared: Prepared, fetch: Fetch, change: Change, options: list[str]) -> None:
    upstream = prepared.upstream
    change(upstream)
    diff = upstream.diff("--binary", *options)
    assert diff
    expected = tree(upstream.path)
    upstream.git("reset", "--hard", "--quiet")
    upstream.git("clean", "-fdxq")
    result = fetch(prepared.settings, repository=str(upstream.path), version_num=prepared.commit, diff=diff)
    assert tree(result.root) == expected
    assert result.dirty


@pytest.mark.parametrize(
    "damage",
    [
        str.strip,
        lambda diff: "\n\n" + diff,
        lambda diff: diff + "\n\n",
        lambda diff: diff.replace("\n", "\r\n"),
        lambda diff: "\ufeff" + diff,
        lambda diff: "\n".join(line.rstrip() if line == " " else line for line in diff.split("\n")),
    ],
    ids=["stripped", "leading", "trailing", "crlf", "bom", "blank-context"],
)
def test_a_diff_that_travelled_badly_applies(upstream: Upstream, fetch: Fetch, damage: Callable[[str], str]) -> None:
    upstream.write("model.py", "def answer():\n    return 1\n\n\n")
    commit = upstream.commit()
    upstream.write("model.py", "def answer():\n    return 2\n\n\n")
    diff = damage(upstream.diff())
    expected = tree(upstream.path)
    upstream.git("stash", "--quiet")
    result = fetch(repository=str(upstream.path), version_num=commit, diff=diff)
    assert tree(result.root) == expected


def test_line_ends_that_were_lost_are_those_of_the_file(upstream: Upstream, fetch: Fetch, console: Recorder) -> None:
    commit = prepare(upstream)
    windows(upstream)
    upstream.git("checkout", "mixed.txt")
    upstream.write("no_end.txt", "a\nB\nc")
    diff = upstream.diff().replace("\r\n", "\n")
    expected = tree(upstream.path)
    upstream.git("stash", "--quiet")
    result = fetch(repository=str(upstream.path), version_num=commit, diff=diff)
    assert tree(result.root) == expected
    assert "line ends" in console.text


def test_three_ways_when_the_base_moved(upstream: Upstream, fetch: Fetch, console: Recorder) -> None:
    prepare(upstream)
    text = (upstream.path / "data/numbers.txt").read_text()
    upstream.write("data/numbers.txt", text.replace("line 30\n", "thirty\n"))
    diff = upstream.diff("--unified=10")
    upstream.write("data/numbers.txt", text.replace("line 22\n", "22\n"))
    upstream.commit("near by")
    result = fetch(repository=str(upstream.path), branch="main", diff=diff)
    expected = text.replace("line 30\n", "thirty\n").replace("line 22\n", "22\n")
    assert (result.root / "data/numbers.txt").read_text() == expected
    assert "three-way" in console.text
    assert Upstream(result.root).git("diff", "--cached", "--name-only") == ""


def test_a_diff_that_does_not_apply_changes_nothing(
    upstream: Upstream, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(upstream)
    modify(upstream)
    upstream.write("train.py", "print('first file')\n")
    diff = upstream.diff()
    upstream.git("stash", "--quiet")
    text = (upstream.path / "data/numbers.txt").read_text()
    upstream.write("data/numbers.txt", text.replace("line 50\n", "fifty\n"))
    commit = upstream.commit("same line")
    with pytest.raises(UserError) as caught:
        fetch(repository=str(upstream.path), version_num=commit, diff=diff)
    message = str(caught.value)
    assert caught.value.code == "diff-failed"
    assert "data/numbers.txt, hunk 2 of 2 at line 48" in message
    assert f"the checkout is at the recorded commit {commit[:12]}" in message
    assert "also changed" not in message
    root = upstream.path.parent.parent / "run1" / "project"
    assert Upstream(root).git("status", "--porcelain") == ""


def test_the_error_says_that_no_commit_was_recorded(upstream: Upstream, fetch: Fetch) -> None:
    diff = "diff --git a/gone.py b/gone.py\n--- a/gone.py\n+++ b/gone.py\n@@ -1 +1 @@\n-a\n+b\n"
    with pytest.raises(UserError, match=r"gone.py: No such file.*records no commit.*branch main"):
        fetch(repository=str(upstream.path), branch="main", diff=diff)


@pytest.mark.parametrize(
    ("diff", "reason"),
    [
        (
            "diff --git a/train.py b/train.py\nindex 1..2 100644\nBinary files a/train.py and b/train.py differ\n",
            "binary",
        ),
        (
            "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1,9 +1,9 @@\n import model\n",
            "damaged or cut off",
        ),
        (
            "diff --git a/train.py b/train.py\nnew file mode 100644\n--- /dev/null\n+++ b/train.py\n@@ -0,0 +1 @@\n+x\n",
            "train.py",
        ),
        ("diff --cc train.py\n", "No valid patches"),
    ],
)
def test_other_reasons_are_named(upstream: Upstream, fetch: Fetch, diff: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        fetch(repository=str(upstream.path), diff=diff)
    assert caught.value.code == "diff-failed"


TWICE = "begin\nsame\nmiddle\nsame\nmore\nsame\n"
ELSEWHERE = "diff --git a/other b/other\n--- a/other\n+++ b/other\n"


@pytest.mark.parametrize(
    "after",
    [
        TWICE.replace("same", "changed", 1),
        TWICE.replace("same\nmiddle", "same\nnew\nmiddle"),
        TWICE.replace("middle\nsame\n", "middle\n"),
        "new\n" + TWICE,
        TWICE.replace("begin", "changed"),
        "begin\n" + TWICE,
    ],
    ids=["change", "insertion", "deletion", "on top", "first line", "first line twice"],
)
def test_hunks_without_context_go_where_they_say(upstream: Upstream, fetch: Fetch, after: str) -> None:
    upstream.write("other", TWICE)
    commit = upstream.commit()
    upstream.write("other", after)
    diff = upstream.diff("--unified=0")
    result = fetch(repository=str(upstream.path), version_num=commit, diff=diff)
    assert (result.root / "other").read_text() == after


def test_hunks_without_context_on_a_base_that_moved(
    upstream: Upstream, fetch: Fetch, console: Recorder, tmp_path: Path
) -> None:
    """Their lines mean nothing there. A merge knows better; without the file that they were made for nobody does."""
    upstream.write("other", TWICE)
    upstream.commit()
    upstream.write("other", TWICE.replace("same\nmiddle", "same\nnew\nmiddle"))
    diff = upstream.diff("--unified=0")
    upstream.write("other", "above\n" + TWICE)
    upstream.commit()
    result = fetch(repository=str(upstream.path), diff=diff)
    assert (result.root / "other").read_text() == "above\nbegin\nsame\nnew\nmiddle\nsame\nmore\nsame\n"
    assert "three-way merge" in console.text

    stranger = Upstream.new(tmp_path / "stranger")
    stranger.write("other", "above\n" + TWICE)
    stranger.write("train.py", "")
    stranger.commit()
    with pytest.raises(UserError, match="no context, and other is not the file that they were made for"):
        fetch(repository=str(stranger.path), diff=diff)
    for hunk, clean in (("@@ -4 +4 @@\n-same\n+x\n", False), ("@@ -3 +3 @@\n-same\n+x\n", True)):
        untold = ELSEWHERE + hunk  # it does not say what it was made for
        if clean:
            root = fetch(repository=str(stranger.path), diff=untold).root
            assert (root / "other").read_text() == "above\n" + TWICE.replace("same", "x", 1)
        else:
            with pytest.raises(UserError, match="stands on other lines now"):
                fetch(repository=str(stranger.path), diff=untold)


def test_changes_that_were_edited_are_applied_and_told(upstream: Upstream, fetch: Fetch, console: Recorder) -> None:
    upstream.write("model.py", "def answer():\n    return 43\n")
    diff = upstream.diff()
    fetch(repository=str(upstream.path), diff=diff)
    assert "WARNING" not in console.text
    result = fetch(repository=str(upstream.path), diff=diff.replace("43", "44"))
    assert (result.root / "model.py").read_text() == "def answer():\n    return 44\n"
    assert "WARNING: model.py is not what the task's author had" in console.text


@pytest.mark.parametrize(
    "path", ["../victim", "/etc/victim", "sub/../../victim", ".git/config", "x/.GIT/hooks/y", "out/victim"]
)
def test_a_diff_stays_inside_the_checkout(upstream: Upstream, fetch: Fetch, path: str) -> None:
    (upstream.path / "out").symlink_to("..")
    upstream.commit("a way out")
    diff = f"diff --git a/{path} b/{path}\nnew file mode 100644\n--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+x\n"
    with pytest.raises(UserError) as caught:
        fetch(repository=str(upstream.path), diff=diff)
    assert caught.value.code == "outside-checkout"
    assert not list(upstream.path.parent.parent.rglob("victim"))


def test_sections_of_task_create_fill_files_that_may_be_missing(upstream: Upstream, fetch: Fetch) -> None:
    """``Task.create`` puts such sections on top; nobody knows whether the files are there."""
    diff = (
        "diff --git a/requirements.txt b/requirements.txt\n--- a/requirements.txt\n+++ b/requirements.txt\n"
        "@@ -0,0 +1,1 @@\n+clearml\n"
        "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -0,0 +1,2 @@\n+import clearml\n+\n"
    )
    result = fetch(repository=str(upstream.path), diff=diff)
    assert (result.root / "requirements.txt").read_text() == "clearml\n"
    assert (result.root / "train.py").read_text() == "import clearml\n\nimport model\nprint(model.answer())\n"


def test_a_notice_of_a_large_diff_is_no_script(upstream: Upstream, fetch: Fetch, console: Recorder) -> None:
    notice = "# WARNING! git diff too large to store, clear this section to execute without it.\n"
    result = fetch(repository=str(upstream.path), diff=notice, entry_point="other.py")
    assert "too large" in console.text
    assert not result.dirty
    assert not (result.root / "other.py").exists()
