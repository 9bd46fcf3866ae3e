"""Requirement files as text: logical lines, includes, options. Nothing here raises on what people write."""

from __future__ import annotations

import codecs
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

_COMMENT = re.compile(r"(^|\s+)#.*$")
_INVISIBLE = re.compile("[\ufeff\u200b-\u200d\u2060\x00]")
_ODD_BLANK = re.compile(r"[^\S\n\r\t\x0b\x0c\x1c-\x1f\x85\u2028\u2029 ]")
_WORD = re.compile(r"(?:\"[^\"]*\"|'[^']*'|\S)+")
_OPTION = re.compile(r"(-{1,2}[A-Za-z][\w-]*)(?:\s*=\s*|\s+|$)(.*)", re.DOTALL)
_SHORT = re.compile(r"-([rcefi])(\S.*)", re.DOTALL)
_REMOTE_FILE = re.compile(r"(?:https?|ftps?)://", re.IGNORECASE)
_LONG_OF = {
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
    "-f": "--find-links",
    "-i": "--index-url",
    "--pypi-url": "--index-url",
}
# Options of whole files. pip overlooks them behind a requirement; whoever wrote them there meant them.
_GLOBAL = frozenset(
    {
        *("--find-links", "--index-url", "--extra-index-url", "--no-index", "--trusted-host"),
        *("--pre", "--no-binary", "--only-binary", "--prefer-binary", "--require-hashes"),
    }
)
_MARKS = (  # the longer one first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_INCLUDING = frozenset({"--requirement", "--constraint"})
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
        torn: the line that this option was the end of, where that line is a requirement.
    """

    text: str
    origin: str
    option: str = ""
    value: str = ""
    folder: Path | None = None
    torn: str = ""

    @property
    def remote(self) -> bool:
        """It includes a file that only the engine can fetch."""
        return self.option in _INCLUDING and bool(_REMOTE_FILE.match(self.value))


@attrs.frozen
class Listing:
    """Everything that a requirement file and what it includes say. ``waits`` when a file may come with the checkout."""

    packages: tuple[Line, ...] = ()
    options: tuple[Line, ...] = ()
    constraints: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    waits: bool = False

    def __add__(self, other: Listing) -> Listing:
        """Both, one after the other."""
        return Listing(
            self.packages + other.packages,
            self.options + other.options,
            self.constraints + other.constraints,
            self.notes + other.notes,
            self.waits or other.waits,
        )


def decode(data: bytes) -> str:
    """The text of a requirement file, whatever wrote it: PowerShell writes UTF-16, old editors a one-byte code."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, errors="replace")
    if b"\0" in data[:400]:
        return data.decode("utf-16-be" if data[:1] == b"\0" else "utf-16-le", errors="replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def split_lines(text: str, origin: str, folder: Path | None = None) -> Iterator[Line]:
    """The logical lines of ``text``: continuations joined, comments, blank lines and invisible characters dropped."""
    pending = ""
    first = 0
    for number, raw in enumerate(_ODD_BLANK.sub(" ", _INVISIBLE.sub("", text)).splitlines(), start=1):
        first = first or number
        if raw.rstrip().endswith("\\") and not raw.lstrip().startswith("#"):
            pending += raw.rstrip().rstrip("\\")
            continue
        # A comment ends a continuation, and is one also where no blank stands in front of the joined line.
        yield from _lines(f"{pending} {raw}" if raw.lstrip().startswith("#") else pending + raw, origin, first, folder)
        pending, first = "", 0
    yield from _lines(pending, origin, first, folder)


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
    packages: list[Line] = []
    options: list[Line] = []
    constraints: list[Line] = []
    notes: list[str] = []
    waits = False
    for line in split_lines(text, origin, folder):
        if line.torn:
            notes.append(f"{line.origin}: {line.torn}: {line.text} is read as a line of its own")
        if line.option in _INCLUDING and not line.remote:
            more = _include(line, root, seen)
            (packages if line.option == "--requirement" else constraints).extend(more.packages)
            options += more.options
            constraints += more.constraints
            notes += more.notes
            waits = waits or more.waits
        elif line.option and line.option != "--editable" and not line.remote:
            options.append(line)
        else:
            packages.append(line)
    return Listing(tuple(packages), tuple(options), tuple(constraints), tuple(notes), waits)


def _include(line: Line, root: Path | None, seen: frozenset[Path]) -> Listing:
    value = _path(line.value)
    places = [Path(value)] if value.startswith("/") else [place / value for place in (line.folder, root) if place]
    for place in places:
        try:
            file = place.resolve()
            if file in seen or len(seen) >= _DEEPEST:
                return Listing(notes=(f"{line.origin}: {line.text}: left out, the file includes itself",))
            text = decode(file.read_bytes())
        except (OSError, ValueError, RuntimeError):  # ValueError: a NUL in the name; RuntimeError: a loop of links
            continue
        return expand(text, line.value, file.parent, root, seen | {file})
    if not places:
        return Listing(notes=(f"{line.origin}: {line.text}: looked for when the code is here",), waits=True)
    return Listing(notes=(f"{line.origin}: {line.text}: left out, there is no such file",))


def _path(value: str) -> str:
    if not value.startswith("file:"):
        return value
    try:
        return unquote(urlsplit(value).path)
    except ValueError:  # not an address
        return value


def _lines(text: str, origin: str, number: int, folder: Path | None) -> Iterator[Line]:
    """What stands on one logical line: a requirement, or one or more options."""
    text = _ended(_COMMENT.sub("", text))
    if not text:
        return
    where = f"{origin}:{number}" if origin else f"line {number}"
    if not text.startswith("-") or text.startswith("- "):
        kept, torn = _torn(text)
        if kept:
            yield Line(kept, where, folder=folder)
        for option in torn:
            yield attrs.evolve(_option(option, where, folder), torn=text)
        return
    for option in _options(text):
        yield _option(option, where, folder)


def _options(text: str) -> list[str]:
    """``text`` cut before each word that begins another option: ``--index-url U --trusted-host H`` are two."""
    found: list[list[str]] = []
    for word in _WORD.findall(text):
        if not found or _OPTION.match(word):
            found.append([])
        found[-1].append(word)
    return [text] if len(found) == 1 else [" ".join(words) for words in found]


def _torn(text: str) -> tuple[str, list[str]]:
    """A requirement, and the options of whole files that stand behind it."""
    if " -" not in text:
        return text, []
    first, *others = _options(text)
    options = [other for other in others if _option(other, "", None).option in _GLOBAL]
    if not options:
        return text, []
    return _ended(" ".join([first, *(other for other in others if other not in options)])), options


def _ended(text: str) -> str:
    """``text`` without what would have an engine read the next line as its continuation."""
    return text.strip().rstrip("\\ \t")


def _option(text: str, origin: str, folder: Path | None) -> Line:
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
