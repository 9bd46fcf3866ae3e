"""Requirement files as text: logical lines, includes, options. Nothing here raises on what people write."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs

_COMMENT = re.compile(r"(^|\s+)#.*$")
_OPTION = re.compile(r"(-{1,2}[A-Za-z][\w-]*)(?:\s*=\s*|\s+|$)(.*)", re.DOTALL)
_SHORT = re.compile(r"-([rcefi])(\S.*)", re.DOTALL)
_LONG_OF = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-f": "--find-links",
    "-i": "--index-url",
    "--pypi-url": "--index-url",
}
_DEEPEST = 20


@attrs.frozen
class Line:
    """One logical line: joined, without comment.

    Args:
        text: what stands there.
        origin: file and line number, for notes.
        option: the long name of the option that it is, such as ``--find-links``; empty for a requirement.
        value: the option's value.
        folder: where relative includes and links of its file lead; None for text that is no file.
    """

    text: str
    origin: str
    option: str = ""
    value: str = ""
    folder: Path | None = None


@attrs.frozen
class Listing:
    """Everything that a requirement file and what it includes say."""

    packages: tuple[Line, ...] = ()
    options: tuple[Line, ...] = ()
    constraints: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()

    def __add__(self, other: Listing) -> Listing:
        """Both, one after the other."""
        return Listing(
            self.packages + other.packages,
            self.options + other.options,
            self.constraints + other.constraints,
            self.notes + other.notes,
        )


def split_lines(text: str, origin: str, folder: Path | None = None) -> Iterator[Line]:
    """The logical lines of ``text``: continuations joined, comments, blank lines and a byte-order mark dropped."""
    pending = ""
    first = 0
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), start=1):
        first = first or number
        if raw.endswith("\\") and not raw.lstrip().startswith("#"):
            pending += raw[:-1] + " "
            continue
        line = _COMMENT.sub("", pending + raw).strip()
        if line:
            yield _line(line, f"{origin}:{first}" if origin else f"line {first}", folder)
        pending, first = "", 0
    line = _COMMENT.sub("", pending).strip()
    if line:
        yield _line(line, f"{origin}:{first}", folder)


def expand(
    text: str, origin: str, folder: Path | None, root: Path | None, seen: frozenset[Path] = frozenset()
) -> Listing:
    """The lines of ``text`` with ``-r`` and ``-c`` files read in.

    Args:
        text: the content of a requirement file, or what was recorded with the task.
        origin: its name, for notes.
        folder: where the file is; relative includes are looked for there first.
        root: the checkout; relative includes are looked for there second.
        seen: the files that led here.
    """
    result = Listing()
    for line in split_lines(text, origin, folder):
        if line.option == "--requirement":
            result += _include(line, root, seen)
        elif line.option == "--constraint":
            listing = _include(line, root, seen)
            result += Listing(
                options=listing.options, constraints=listing.packages + listing.constraints, notes=listing.notes
            )
        elif line.option and line.option != "--editable":
            result += Listing(options=(line,))
        else:
            result += Listing(packages=(line,))
    return result


def _include(line: Line, root: Path | None, seen: frozenset[Path]) -> Listing:
    places = [Path(line.value)] if line.value.startswith("/") else [p / line.value for p in (line.folder, root) if p]
    for place in places:
        try:
            file = place.resolve()
            if file in seen or len(seen) >= _DEEPEST:
                return Listing(notes=(f"{line.origin}: {line.text}: left out, the file includes itself",))
            text = file.read_bytes().decode("utf-8-sig", errors="replace")
        except (OSError, ValueError, RuntimeError):  # ValueError: a NUL in the name; RuntimeError: a loop of links
            continue
        return expand(text, line.value, file.parent, root, seen | {file})
    return Listing(notes=(f"{line.origin}: {line.text}: left out, there is no such file",))


def _line(text: str, origin: str, folder: Path | None) -> Line:
    if not text.startswith("-"):
        return Line(text, origin, folder=folder)
    match = _SHORT.match(text) or _OPTION.match(text)
    if match is None:
        return Line(text, origin, option=text.split(maxsplit=1)[0], folder=folder)
    name = match[1] if match[1].startswith("-") else f"-{match[1]}"
    return Line(text, origin, option=_LONG_OF.get(name, name), value=_unquoted(match[2]), folder=folder)


def _unquoted(value: str) -> str:
    value = value.strip()
    if value[:1] in {'"', "'"}:
        try:
            return " ".join(shlex.split(value))
        except ValueError:
            return value
    return value
