"""Putting a task's uncommitted changes into its checkout: all of them, or none and a reason."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError
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
_CORRUPT = re.compile(r"(?:corrupt patch|patch fragment without header|patch with only garbage) at line (?P<line>\d+)")


@attrs.frozen
class Applied:
    """How the changes went in: ``strict``, ``line-ends`` or ``three-way``."""

    how: str
    files: int
    submodules: tuple[tuple[str, str], ...] = ()


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
    first: Finished | None = None
    for how, data, options in _attempts(patch, root):
        finished = _apply(data, [f"-p{patch.strip}", *options], root, git)
        if finished.ok:
            return Applied(how, len(patch.files), submodules)
        first = first or finished
    if _apply_three_way(patch, root, git):
        return Applied("three-way", len(patch.files), submodules)
    assert first is not None
    raise _failure(first, patch, base)


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
    data = _with_creations(patch, root)
    yield "strict", data, ()
    if any(hunk.old_start == 0 or hunk.is_creation for file in patch.files for hunk in file.hunks) or _lacks_context(
        patch
    ):
        # Some tools write hunks without context; git wants to be told that this is meant.
        yield "strict", data, ("--unidiff-zero",)
    adapted = _with_line_ends(patch, root)
    if adapted != data:
        yield "line-ends", adapted, ()
        yield "line-ends", adapted, ("--unidiff-zero",)


def _apply(data: bytes, options: list[str], root: Path, git: Git) -> Finished:
    return git.quiet("apply", "--whitespace=nowarn", *options, "-", cwd=root, stdin=data)


def _apply_three_way(patch: Patch, root: Path, git: Git) -> bool:
    """Merge by the blobs that the diff names; tried on a copy of the index, so that a conflict is never written."""
    options = [f"-p{patch.strip}", "--3way"]
    with tempfile.TemporaryDirectory(prefix=".apply-", dir=root / ".git") as folder:
        for number, extra in enumerate((["--cached"], [])):
            index = Path(folder) / f"index{number}"
            shutil.copy2(root / ".git" / "index", index)
            finished = git.with_environ({"GIT_INDEX_FILE": str(index)})
            if not _apply(patch.text(), [*options, *extra], root, finished).ok:
                return False
    return True


def _lacks_context(patch: Patch) -> bool:
    return any(
        not any(line.startswith((b" ", b"\n")) for line in patch.lines[hunk.start + 1 : hunk.end])
        for file in patch.files
        for hunk in file.hunks
    )


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
