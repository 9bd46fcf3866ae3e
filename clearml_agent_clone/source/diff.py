"""Putting a task's uncommitted changes into its checkout: all of them, or none and a reason."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source import blobs
from clearml_agent_clone.source.confine import inside
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.source.patch import FilePatch, Patch, parse_patch
from clearml_agent_clone.util.process import Finished

_FAILED_HUNK = re.compile(r"^error: patch failed: (?P<path>.*):(?P<line>\d+)$", re.MULTILINE)
_FAILED_FILE = re.compile(
    r"^error: (?P<path>.+?): (?P<why>No such file or directory|already exists in .*|wrong type|does not match .*"
    r"|does not exist in .*|is not a .*|has type .*|cannot .*|patch does not apply)$",
    re.MULTILINE,
)
_MOVED_HUNK = re.compile(r"^Hunk #\d+ succeeded at \d+ \(offset|direct application", re.MULTILINE)
_DELETION = re.compile(rb"(?P<head>@@ -\d+(?:,\d+)? \+)(?P<before>\d+)(?P<tail>,0 @@)")
_CORRUPT = re.compile(r"(?:corrupt patch|patch fragment without header|patch with only garbage) at line (?P<line>\d+)")


@attrs.frozen
class Applied:
    """How the changes went in: ``strict``, ``line-ends`` or ``three-way``.

    ``mistaken`` names files that are not what their author had, although the diff was made from the same ones.
    """

    how: str
    files: int
    submodules: tuple[tuple[str, str], ...] = ()
    mistaken: tuple[str, ...] = ()


def apply_diff(text: str, root: Path, git: Git, base: str) -> Applied:
    """Apply ``text`` to the checkout ``root``.

    ``git apply`` checks the whole diff before it writes, so that a diff that fails leaves no trace.

    Args:
        text: what ``git diff`` wrote when the task was recorded.
        root: a clean checkout.
        git: without need for credentials.
        base: says which commit is checked out and whether it is the recorded one, for the error.

    Raises:
        UserError: code ``diff-failed``; names file and hunk. Code ``outside-checkout`` for paths that lead out.
    """
    patch = parse_patch(text)
    for file in patch.files:
        _refuse_outside(file, root)
    patch = attrs.evolve(patch, files=tuple(_as_submodule(file, root, git) for file in patch.files))
    submodules = tuple((file.path, file.new_commit) for file in patch.files if file.is_gitlink)
    if all(file.is_gitlink for file in patch.files):
        return Applied("strict", len(patch.files), submodules)
    patch = _with_places_of_deletions(patch)
    known = blobs.as_recorded(patch.files, root)
    how, first = _put_in(patch, root, git)
    if not how:
        raise _failure(first, patch, base)
    return Applied(how, len(patch.files), submodules, tuple(blobs.mistaken(known, root, git)))


def _put_in(patch: Patch, root: Path, git: Git) -> tuple[str, Finished]:
    """How the patch went in, or an empty word, and what git said to the first attempt.

    Hunks without context go where their line number says or nowhere, and only into the files that they were made for:
    git would take the first place that they fit. Where the base has moved on, a merge knows the way.
    """
    bare = [file for file in patch.files if any(hunk.bare for hunk in file.hunks)]
    foreign = blobs.strangers(bare, root, git)
    first: Finished | None = None
    for how, data, options in _attempts(patch, root):
        arguments = [f"-p{patch.strip}", *options]
        finished = _on_its_line(data, arguments, root, git, foreign) if options else None
        if finished is None or finished.ok:
            finished = _apply(data, arguments, root, git)
            if finished.ok:
                return how, finished
        first = first or finished
    assert first is not None
    return ("three-way" if _apply_three_way(patch, root, git, bare=bool(bare)) else ""), first


def _on_its_line(data: bytes, arguments: list[str], root: Path, git: Git, foreign: list[FilePatch]) -> Finished:
    """Whether a diff without context would apply with every hunk where it says; nothing is changed."""
    finished = _apply(data, ["--check", "--verbose", *arguments], root, git)
    if not finished.ok or not (foreign or _MOVED_HUNK.search(finished.errors)):
        return finished
    errors = "error: its hunks have no context, and"
    if foreign:
        errors += f" {foreign[0].path} is not the file that they were made for"
    else:
        errors += " what they change stands on other lines now"
    return attrs.evolve(finished, exit_code=1, errors=errors)


def _as_submodule(file: FilePatch, root: Path, git: Git) -> FilePatch:
    """A submodule that was only renamed: its section shows neither the mode nor the commit."""
    if (
        file.is_gitlink
        or file.hunks
        or not file.old
        or file.old == file.new
        or not (root / file.old / ".git").is_file()
    ):
        return file
    commit = git.quiet("rev-parse", "--verify", "--quiet", "--end-of-options", f":{file.old}", cwd=root)
    return attrs.evolve(file, is_gitlink=True, new_commit=commit.output.strip()) if commit.ok else file


def _attempts(patch: Patch, root: Path) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    """What to give to ``git apply``, the most faithful first."""
    hunks = [hunk for file in patch.files for hunk in file.hunks]
    # git wants to be told of hunks that are meant to have no context; else it takes them for the end of the file
    ways: list[tuple[str, ...]] = (
        [("--unidiff-zero",)] if any(hunk.bare or hunk.old_start == 0 for hunk in hunks) else []
    )
    if not any(hunk.goes_by_line for hunk in hunks):
        ways.insert(0, ())
    data = _with_creations(patch, root)
    yield from (("strict", data, way) for way in ways)
    adapted = _with_line_ends(patch, root)
    if adapted != data:
        yield from (("line-ends", adapted, way) for way in ways)


def _apply(data: bytes, options: list[str], root: Path, git: Git) -> Finished:
    return git.quiet("apply", "--whitespace=nowarn", *options, "-", cwd=root, stdin=data)


def _apply_three_way(patch: Patch, root: Path, git: Git, *, bare: bool) -> bool:
    """Merge by the blobs that the diff names; tried on a copy of the index, so that a conflict is never written."""
    options = [f"-p{patch.strip}", "--3way", *(["--unidiff-zero", "--verbose"] if bare else [])]
    with tempfile.TemporaryDirectory(prefix=".apply-", dir=root / ".git") as folder:
        for number, extra in enumerate((["--cached"], [])):
            index = Path(folder) / f"index{number}"
            shutil.copy2(root / ".git" / "index", index)
            finished = git.with_environ({"GIT_INDEX_FILE": str(index)})
            done = _apply(patch.text(), [*options, *extra], root, finished)
            if not done.ok or (bare and _MOVED_HUNK.search(done.errors)):
                return False
    return True


def _with_places_of_deletions(patch: Patch) -> Patch:
    """Have git look for lines that are deleted without context where they stand.

    It goes by the new file's line number, which in such a hunk is that of the line before.
    """
    lines = list(patch.lines)
    for hunk in (hunk for file in patch.files for hunk in file.hunks if hunk.bare):
        match = _DELETION.match(lines[hunk.start])
        if match and int(match["before"]):
            after = b"%d" % (int(match["before"]) + 1)
            lines[hunk.start] = match["head"] + after + match["tail"] + lines[hunk.start][match.end() :]
    return attrs.evolve(patch, lines=tuple(lines))


def _with_creations(patch: Patch, root: Path) -> bytes:
    """The diff, where files that it fills from nothing but does not call new are called new.

    The SDK writes such sections for files that may or may not be there (``Task.create``).
    """
    lines = list(patch.lines)
    for file in patch.files:
        missing = not (root / file.path).exists()
        if file.is_new or not missing or not file.hunks or not file.hunks[0].is_creation:
            continue
        for number in range(file.start + 1, file.hunks[0].start):
            if lines[number].startswith(b"--- "):
                lines[number] = b"--- /dev/null\n"
        lines[file.start] += b"new file mode 100644\n"
    return attrs.evolve(patch, lines=tuple(lines)).text()


def _with_line_ends(patch: Patch, root: Path) -> bytes:
    """The diff with each file's own line ends: they get lost, or doubled, when a diff travels through Windows."""
    lines = list(patch.lines)
    for file in patch.files:
        ends = _line_ends(root / file.old) if file.old else b""
        if not ends:
            continue
        for hunk in file.hunks:
            for number in range(hunk.start + 1, hunk.end):
                # A last line without newline has none of the file's ends; git says so in the line below it.
                is_last = lines[number + 1][:1] == b"\\"
                if lines[number][:1] != b"\\":
                    lines[number] = lines[number].rstrip(b"\r\n") + (b"\n" if is_last else ends)
    return _with_creations(attrs.evolve(patch, lines=tuple(lines)), root)


def _line_ends(path: Path) -> bytes:
    """CR LF or LF when all lines of the file end so, else nothing."""
    try:
        data = path.read_bytes()
    except OSError:
        return b""
    total, windows = data.count(b"\n"), data.count(b"\r\n")
    if windows == total:
        return b"\r\n" if total else b""
    return b"" if windows else b"\n"


def _refuse_outside(file: FilePatch, root: Path) -> None:
    for path in filter(None, (file.old, file.new)):
        parts = path.split("/")
        if path.startswith("/") or ".." in parts or any(part.lower() == ".git" for part in parts):
            raise UserError(
                f'the uncommitted changes touch "{path}", which is not part of the checkout',
                remedy="Remove this file from the task's uncommitted changes",
                code="outside-checkout",
            )
        inside((root / path).parent, root, f'uncommitted changes: "{path}"')


def _failure(finished: Finished, patch: Patch, base: str) -> UserError:
    return UserError(
        f"the uncommitted changes do not apply: {_where(finished.errors or finished.output, patch)}; {base}",
        remedy="Push the commit that they were made on, or record the task again, or clear its uncommitted changes",
        code="diff-failed",
    )


def _where(text: str, patch: Patch) -> str:
    """File, hunk and reason in words."""
    binary = next((file for file in patch.files if file.is_binary_without_data), None)
    if binary is not None and "binary patch" in text:
        return f"{binary.path} is binary and its content was not recorded (commit it)"
    failed = _FAILED_HUNK.search(text)
    if failed:
        file = next((file for file in patch.files if failed["path"] in {file.old, file.new}), None)
        line = int(failed["line"])
        hunks = file.hunks if file else ()
        number = next((number for number, hunk in enumerate(hunks, 1) if hunk.old_start == line), 0)
        if number:
            return (
                f'{failed["path"]}, hunk {number} of {len(hunks)} at line {line} ("{hunks[number - 1].header[:120]}")'
            )
        return f"{failed['path']} at line {line}"
    corrupt = _CORRUPT.search(text)
    if corrupt:
        return f"the diff itself is damaged or cut off at its line {corrupt['line']}"
    missing = _FAILED_FILE.search(text)
    if missing:
        return f"{missing['path']}: {missing['why']}"
    return next((line.removeprefix("error: ") for line in text.splitlines() if line.strip()), "git apply failed")
