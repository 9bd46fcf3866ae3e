"""Scripts that are recorded whole, in place of a repository or beside one."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path, PurePosixPath

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.confine import inside

SHELLS = frozenset({"bash", "sh", "zsh"})
_SCRIPT_ENDINGS = (".py", ".ipynb")
_SHELL_ENDINGS = (".sh", ".bash", ".zsh")
_FIRST_WORD = re.compile(r"""\s*(?P<word>"[^"]*"|'[^']*'|\S+)(?P<rest>.*)""", re.DOTALL)
_SUBMODULE_NOTE = re.compile(
    r"submodule .+ (?:contains (?:untracked|modified) content|[0-9a-f]{7,}\.{2,3}[0-9a-f]{7,}.*)"
)
_FUTURE = re.compile(r"from\s+__future__\s+import\b")


@attrs.frozen
class Literal:
    """A script's text and the file it is written to.

    Args:
        name: file, relative to the working folder.
        text: what stands in the task.
    """

    name: str
    text: str = attrs.field(repr=False)


def is_literal(diff: str) -> bool:
    """Whether the text recorded as uncommitted changes is a whole script, not a diff."""
    text = diff.strip().lower()
    if not text or text.startswith("diff "):
        return False
    if not text.startswith("submodule "):
        return True
    return not (_SUBMODULE_NOTE.match(text) or any(line.startswith("diff ") for line in text.splitlines()))


def is_too_large_notice(text: str) -> bool:
    """Whether the SDK recorded a notice in place of a diff that was too large for it."""
    return text.lstrip().startswith("# WARNING! git diff too large to store")


def first_word(entry_point: str) -> tuple[str, str]:
    """The first word of a command line, without quotes, and the rest exactly as it was written."""
    match = _FIRST_WORD.fullmatch(entry_point)
    if match is None:
        return "", ""
    word = match["word"]
    return (word[1:-1] if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'" else word), match["rest"]


def split_places(working_dir: str, entry_point: str) -> tuple[str, str, str]:
    """Working folder, entry point and literal file name of ``dir:file`` and ``file:dir`` forms.

    ``working_dir`` may be ``dir:file``; when it is empty, the first word of ``entry_point`` may be ``file:dir``.
    The name is empty when neither form is used. Arguments of the entry point are left as they are.
    """
    folder, colon, name = working_dir.partition(":")
    if colon and name and "/" not in name:
        return folder, entry_point, name
    if not working_dir and not entry_point.startswith("-"):
        word, rest = first_word(entry_point)
        file, colon, folder = word.rpartition(":")
        if colon and file.endswith(_SCRIPT_ENDINGS + _SHELL_ENDINGS):
            return folder, quoted(file) + rest, file
    return working_dir, entry_point, ""


def plan_literal(text: str, entry_point: str, name: str, *, shell: bool, keep_folders: bool) -> tuple[Literal, str]:
    """The file that ``text`` is written to, and the entry point that starts it.

    Args:
        text: the script.
        entry_point: as recorded; ``-m`` and ``-c`` are kept and the script stands beside them.
        name: a file name that the task gives apart from the entry point, or empty.
        shell: the script is for a shell.
        keep_folders: write to the folder that the entry point names (in a repository), not to the top.
    """
    fallback = "untitled.sh" if shell else "untitled.py"
    if entry_point.startswith("-"):
        return Literal(name or fallback, text), entry_point
    if not entry_point:
        return Literal(name or fallback, text), quoted(name or fallback)
    if name:
        return Literal(name, text), entry_point
    word, rest = first_word(entry_point)
    if not word.endswith(_SHELL_ENDINGS if shell else _SCRIPT_ENDINGS):
        word, rest = entry_point, ""
    file = word if keep_folders else (PurePosixPath(word).name or fallback)
    return Literal(file, text), quoted(file) + rest


def write_literal(literal: Literal, folder: Path, root: Path) -> bool:
    """Write the script below ``folder`` unless its file is there already; whether it was written.

    Raises:
        UserError: code ``outside-checkout``; the file would not be inside ``root``.
    """
    path = folder / literal.name
    inside(path.parent, root, f'entry point "{literal.name}"')
    if path.is_file():
        return False
    text = literal.text
    if path.suffix == ".py":
        text = after_future_imports(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o644), "wb") as file:
            file.write(text.encode(errors="surrogateescape"))
    except OSError as error:
        raise UserError(
            f'cannot write the script "{literal.name}": {error.strerror}',
            remedy="Check the entry point and working folder of the task",
            code="bad-entry-point",
        ) from error
    return True


def after_future_imports(text: str) -> str:
    """Move the two lines that start the SDK, when they head the script, below its ``__future__`` imports.

    The SDK puts them on top when it records a script; Python wants ``from __future__`` first.
    """
    lines = text.splitlines(keepends=True)
    if len(lines) < 3 or not lines[0].startswith("from clearml ") or "Task.init" not in lines[1]:
        return text
    last = -1
    number = 2
    while number < len(lines):
        if _FUTURE.match(lines[number]):
            number = last = _end_of_statement(lines, number)
        number += 1
    if last < 0:
        return text
    if not lines[last].endswith("\n"):
        lines[last] += "\n"
    return "".join([*lines[2 : last + 1], *lines[:2], *lines[last + 1 :]])


def quoted(word: str) -> str:
    """``word`` for a command line that is split like a shell's, unless it is plain."""
    return word if re.fullmatch(r"[\w./:@%+=,~-]+", word) else shlex.quote(word)


def _end_of_statement(lines: list[str], start: int) -> int:
    depth = 0
    for number in range(start, len(lines)):
        code = lines[number].split("#", 1)[0]
        depth += code.count("(") - code.count(")")
        if depth <= 0 and not code.rstrip().endswith("\\"):
            return number
    return start
