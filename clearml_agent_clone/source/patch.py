"""Reading what ``git diff`` wrote: its files and hunks, and mending what travelled badly.

All work is on bytes, because a diff may hold files of any encoding.
"""

from __future__ import annotations

import re

import attrs

_HUNK = re.compile(rb"@@ -(?P<old>\d+)(?:,(?P<olds>\d+))? \+\d+(?:,(?P<news>\d+))? @@")
_MODE = re.compile(rb"(?:new file mode|deleted file mode|old mode|new mode) (?P<mode>\d{6})|index \S+ (?P<kept>\d{6})")
_ESCAPE = re.compile(rb'\\(?:(?P<octal>[0-7]{3})|(?P<letter>[abtnvfr"\\]))')
_LETTERS = {b"a": b"\a", b"b": b"\b", b"t": b"\t", b"n": b"\n", b"v": b"\v", b"f": b"\f", b"r": b"\r"}
_SUBPROJECT = re.compile(rb"\+Subproject commit ([0-9a-f]{40,64})")
_GITLINK = b"160000"
_INDEX = re.compile(rb"index (?P<old>[0-9a-f]{7,64})\.\.(?P<new>[0-9a-f]{7,64})\b")
_LOST_AT_MOST = 3  # lines of context that stand below the last change


@attrs.frozen
class Hunk:
    """One hunk: where it stands in the diff (line numbers from 0, ``end`` excluded) and in the old file (from 1).

    A ``bare`` hunk has no lines around its changes. Either it is all of the file, or, and then ``goes_by_line`` is
    True where that is sure, it was made without context, and nothing but its line number says where it belongs.
    """

    start: int
    end: int
    old_start: int
    header: str
    is_creation: bool
    bare: bool = False
    goes_by_line: bool = False


@attrs.frozen
class FilePatch:
    """The changes of one file; paths are relative to the root, without prefix, empty for ``/dev/null``.

    ``old_blob`` and ``new_blob`` are ids of the contents, or their beginnings; empty where the diff does not tell.
    """

    start: int
    end: int
    old: str
    new: str
    hunks: tuple[Hunk, ...] = ()
    is_new: bool = False
    is_binary_without_data: bool = False
    is_gitlink: bool = False
    new_commit: str = ""
    old_blob: str = ""
    new_blob: str = ""

    @property
    def path(self) -> str:
        return self.new or self.old


@attrs.frozen
class Patch:
    """A diff taken apart: its lines with their ends, and what they say.

    ``strip`` is the number of leading folders in its paths: 1, or 0 when it was made with ``diff.noprefix``.
    """

    lines: tuple[bytes, ...] = attrs.field(repr=False)
    files: tuple[FilePatch, ...]
    strip: int
    had_cr: bool

    def text(self) -> bytes:
        """The diff for ``git apply``: submodule commits are not among it, they are checked out."""
        left_out = {number for file in self.files if file.is_gitlink for number in range(file.start, file.end)}
        return b"".join(line for number, line in enumerate(self.lines) if number not in left_out)


def parse_patch(text: str) -> Patch:
    """Take a diff apart and mend its ends: lost last newline, lost blank lines of context, CR in git's own lines."""
    raw = text.lstrip("\ufeff \t\r\n").encode(errors="surrogateescape")
    lines = raw.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    headers = [line for line in lines if line.startswith((b"diff --git ", b"@@ -"))]
    had_cr = bool(headers) and all(line.endswith(b"\r") for line in headers)
    if had_cr:
        lines = [line.removesuffix(b"\r") for line in lines]
    reader = _Reader(lines)
    files = tuple(reader.read())
    ended = [line + b"\n" for line in lines] + [b" \n"] * reader.lost + [b"\n"]
    return Patch(tuple(ended), files, reader.strip, had_cr)


class _Reader:
    def __init__(self, lines: list[bytes]) -> None:
        self._lines = lines
        self.lost = 0
        self.strip = 1

    def read(self) -> list[FilePatch]:
        starts = self._starts()
        self.strip = self._strip_level(starts)
        ends = [*starts[1:], len(self._lines)]
        return [self._file(start, end) for start, end in zip(starts, ends, strict=True)]

    def _starts(self) -> list[int]:
        """Where files begin. Lines within a hunk are skipped by its counts, whatever they look like."""
        starts, number = [], 0
        while number < len(self._lines):
            line = self._lines[number]
            if line.startswith(b"diff "):
                starts.append(number)
            match = _HUNK.match(line)
            number = self._hunk_end(number, match) if match else number + 1
        return starts

    def _hunk_end(self, start: int, match: re.Match[bytes]) -> int:
        old = int(match["olds"]) if match["olds"] is not None else 1
        new = int(match["news"]) if match["news"] is not None else 1
        number = start + 1
        while (old > 0 or new > 0) and number < len(self._lines):
            kind = self._lines[number][:1]
            if kind not in {b"", b" ", b"+", b"-", b"\\", b"\r"}:
                return number
            old -= kind not in {b"+", b"\\"}
            new -= kind not in {b"-", b"\\"}
            number += 1
        if old == new and 0 < old <= _LOST_AT_MOST and number == len(self._lines):
            self.lost = old
        if number < len(self._lines) and self._lines[number].startswith(b"\\"):
            number += 1
        return number

    def _strip_level(self, starts: list[int]) -> int:
        for start in starts:
            names = self._lines[start].removeprefix(b"diff --git ")
            middle = len(names) // 2
            if len(names) % 2 and names[middle : middle + 1] == b" " and names[:middle] == names[middle + 1 :]:
                return 0
            for line in self._lines[start + 1 : start + 8]:
                if line.startswith((b"rename from ", b"copy from ")):
                    return int(not names.startswith(line.partition(b" from ")[2] + b" "))
        return 1

    def _file(self, start: int, end: int) -> FilePatch:
        head = start + 1
        while head < end and not _HUNK.match(self._lines[head]):
            head += 1
        header = self._lines[start:head]
        modes = [match["mode"] or match["kept"] for line in header if (match := _MODE.match(line))]
        old, new = self._names(header)
        gitlink = _GITLINK in modes
        blobs = next((match for line in header if (match := _INDEX.match(line))), None)
        commits = [match[1] for line in self._lines[head:end] if (match := _SUBPROJECT.match(line))]
        return FilePatch(
            start,
            end,
            old,
            new,
            tuple(self._hunks(head, end)),
            is_new=any(line.startswith(b"new file mode") for line in header) or not old,
            is_binary_without_data=any(line.startswith(b"Binary files ") for line in header),
            is_gitlink=gitlink,
            new_commit=commits[0].decode() if gitlink and commits else "",
            old_blob=_blob(blobs["old"]) if blobs else "",
            new_blob=_blob(blobs["new"]) if blobs else "",
        )

    def _hunks(self, head: int, end: int) -> list[Hunk]:
        found, number = [], head
        while number < end:
            match = _HUNK.match(self._lines[number])
            if match is None:
                number += 1
                continue
            after = self._hunk_end(number, match)
            line = self._lines[number].decode(errors="replace")
            creation = match["old"] == b"0" and match["olds"] == b"0"
            inner = self._lines[number + 1 : after]
            bare = not any(text[:1] in {b" ", b"", b"\r"} for text in inner)
            by_line = bare and (int(match["old"]) > 1 or (match["old"], match["olds"]) == (b"1", b"0"))
            found.append(Hunk(number, min(after, end), int(match["old"]), line, creation, bare, by_line))
            number = after
        return found

    def _names(self, header: list[bytes]) -> tuple[str, str]:
        old = new = None
        for line in header[1:]:
            if line.startswith(b"--- "):
                old = self._path(line[4:])
            elif line.startswith(b"+++ "):
                new = self._path(line[4:])
            elif line.startswith((b"rename from ", b"copy from ")):
                old = _unquoted(line.partition(b" from ")[2])
            elif line.startswith((b"rename to ", b"copy to ")):
                new = _unquoted(line.partition(b" to ")[2])
        if old is None and new is None:
            old = new = self._same_name(header[0].removeprefix(b"diff --git "))
        return old or "", new or ""

    def _same_name(self, names: bytes) -> str:
        """The name in ``a/name b/name``, for files that have neither hunks nor a new name."""
        middle = len(names) // 2
        return self._path(names[middle + 1 :])

    def _path(self, raw: bytes) -> str:
        raw = raw.split(b"\t")[0] if not raw.startswith(b'"') else raw
        if raw == b"/dev/null":
            return ""
        name = _unquoted(raw)
        return name.partition("/")[2] if self.strip and "/" in name else name


def _blob(raw: bytes) -> str:
    return raw.decode() if raw.strip(b"0") else ""


def _unquoted(raw: bytes) -> str:
    """A path as it is on disk: git puts those with unusual characters into quotes."""
    raw = raw.rstrip(b"\r\t")
    if len(raw) > 1 and raw[:1] == raw[-1:] == b'"':
        raw = _ESCAPE.sub(_unescaped, raw[1:-1])
    return raw.decode(errors="surrogateescape")


def _unescaped(match: re.Match[bytes]) -> bytes:
    if match["octal"]:
        return bytes([int(match["octal"], 8) & 0xFF])
    letter: bytes = match["letter"]
    return _LETTERS.get(letter, letter)
