"""Whatever ``git diff`` writes about whatever change: the tree is the author's again, or as it was before."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.diff import apply_diff
from clearml_agent_clone.source.git import Git, git_environ

from .conftest import Upstream

LINES = some.sampled_from(
    ["", "x = 1", "\tindented", "café", "--- a/file", "+++ b/file", "@@ -1 +1 @@", "-", "+", "\\ No newline", " ", "\r"]
)
ENDS = some.sampled_from(["\n", "\r\n"])
NAMES = some.sampled_from(["a.py", "b.txt", "deep/er/c.md", "with blank.txt", "ümlaut", "-dash", "d.bin", 'quo"te'])
OPTIONS = some.sampled_from(
    [
        ["--submodule=diff"],
        ["--no-prefix", "--binary"],
        ["--binary", "--unified=0"],
        ["--unified=0", "--no-prefix", "--binary", "--no-renames"],
        ["--binary", "--unified=1"],
        ["--binary", "--find-copies-harder"],
        ["--binary", "--no-renames", "--ignore-submodules"],
        ["--binary", "--src-prefix=i/", "--dst-prefix=w/"],
        ["--binary", "--patience", "--inter-hunk-context=3"],
    ]
)


@some.composite
def contents(draw: some.DrawFn) -> bytes:
    if draw(some.integers(0, 9)) == 0:
        return b"\x00" + draw(some.binary(max_size=40))
    end = draw(ENDS)
    lines = draw(some.lists(LINES, max_size=12))
    return (end.join(lines) + (end if draw(some.booleans()) else "")).encode()


TREES = some.dictionaries(NAMES, some.tuples(contents(), some.booleans()), max_size=5)


def write(root: Path, tree: dict[str, tuple[bytes, bool]]) -> None:
    for path in root.iterdir():
        if path.name != ".git":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name, (content, executable) in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if executable else 0o644)


def look(root: Path) -> dict[str, tuple[bytes, bool]]:
    files = (path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts)
    return {path.relative_to(root).as_posix(): (path.read_bytes(), bool(path.stat().st_mode & 0o100)) for path in files}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=TREES, after=TREES, options=OPTIONS, staged=some.booleans())
@pytest.mark.usefixtures("plain_git")
def test_any_change_comes_back(
    before: dict[str, tuple[bytes, bool]],
    after: dict[str, tuple[bytes, bool]],
    options: list[str],
    *,
    staged: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        author = Upstream.new(Path(folder) / "author")
        write(author.path, before)
        base = author.commit()
        write(author.path, after)
        author.git("add", "--all")
        if not staged:
            author.git("add", "--intent-to-add", "--all")
            author.git("reset", "--quiet")
            author.git("add", "--intent-to-add", "--all")
        diff = author.diff(*options)
        author.git("reset", "--quiet", "--hard", base)
        author.git("clean", "-fdq")
        git = Git(git_environ(os.environ, allow_local=True))
        if not diff.strip():
            assert before == after
            return
        error = attempt(diff, author.path, git)
        assert look(author.path) == (before if error else after)
        # The SDK records no content of binary files; nothing else may fail.
        assert not error or ("binary" in error and "--binary" not in options)


def attempt(diff: str, root: Path, git: Git) -> str:
    try:
        assert apply_diff(diff, root, git, "").mistaken == ()
    except UserError as error:
        return error.message
    return ""
