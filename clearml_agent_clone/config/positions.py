"""Where the keys of a HOCON text stand.

pyhocon tells values but neither lines nor the text of a number. This is a light scan beside it, which understands
nesting, strings and comments and nothing of values. It never fails: of a text that it cannot follow it knows less.
"""

from __future__ import annotations

import re

import attrs

_SPACE = re.compile(r"[ \t\r\f\v\ufeff]+")
_NEWLINES = re.compile(r"\n+")
_COMMAS = re.compile(r",+")
_COMMENT = re.compile(r"(?:#|//)[^\n]*")
_STRING = re.compile(r'"""(?:.*?)"{3,}|"(?:[^"\\\n]|\\.)*"', re.DOTALL)
_KEY = re.compile(r'(?:[^\s{}\[\],:=+"#$]|(?<=\S)[ \t]+(?=[^\s{}\[\],:=+"#$]))+')
_SEPARATOR = re.compile(r"\+=|=|:")
_SUBSTITUTION = re.compile(r"\$\{[^}\n]*\}")
_WORD = re.compile(r'(?:\\.|[^\s{}\[\],"#$])+')
_INCLUDE = re.compile(r'include[ \t]+(?P<how>[a-z( \t]*)"(?P<what>(?:[^"\\\n]|\\.)*)"[ \t)]*', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@attrs.frozen
class Include:
    """An include statement: what it names, how (``file``, ``url`` …), below which key, in which line."""

    target: str
    how: str
    below: str
    line: int


@attrs.define
class Positions:
    """What was found.

    Args:
        lines: dotted key to the line of its last assignment, from 1.
        numbers: dotted key to the text of a value that looks like a number, as written.
        includes: include statements in order.
        open_braces: lines of braces and brackets that are never closed.
        comments: where comments begin and end.
    """

    lines: dict[str, int] = attrs.Factory(dict)
    numbers: dict[str, str] = attrs.Factory(dict)
    includes: list[Include] = attrs.Factory(list)
    open_braces: list[int] = attrs.Factory(list)
    comments: list[tuple[int, int]] = attrs.Factory(list)


def scan(text: str) -> Positions:
    """The positions of the keys in ``text``."""
    return _Scanner(text).run()


def without_comment_lines(text: str, positions: Positions) -> str:
    """``text`` with an empty line for each line that is only a comment: they cost the parser most of its time."""
    kept: list[str] = []
    at = 0
    for start, end in positions.comments:
        line = text.rfind("\n", 0, start) + 1
        if line >= at and not text[line:start].strip():
            kept.append(text[at:line])
            at = end
    return "".join(kept) + text[at:]


class _Scanner:
    """Alternates between looking for a key and passing over a value."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = 0
        self._line = 1
        self._found = Positions()
        self._stack: list[tuple[str, int, str]] = []  # key above, line of the brace, closing brace

    def run(self) -> Positions:
        self._skip_blank(newlines=True)
        if self._peek() == "{":  # braces around the whole file
            self._push("", "}")
        while self._at < len(self._text):
            if self._in_list():
                self._list_item()
            else:
                self._entry()
        self._found.open_braces = [line for _, line, _ in self._stack]
        return self._found

    def _entry(self) -> None:
        """A key and its value, an include, or a closing brace."""
        self._skip_blank(newlines=True, commas=True)
        if self._peek() in ("", "}"):
            self._pop()
            return
        include = self._take(_INCLUDE)
        if include:
            how = re.sub(r"[^a-z]+", " ", include["how"].lower()).strip()
            self._found.includes.append(Include(include["what"], how, self._above(), self._line_here(include.start())))
            return
        start = self._at
        key = self._take(_STRING) or self._take(_KEY)
        if key is None:
            self._at += 1
            return
        path = ".".join(part for part in (self._above(), key[0].strip('"').strip()) if part)
        self._found.lines[path] = self._line_here(start)
        self._found.numbers.pop(path, None)
        self._skip_blank(newlines=True)
        if self._take(_SEPARATOR):
            self._skip_blank(newlines=True)
        self._value(path)

    def _value(self, path: str) -> None:
        """Pass over one value; an object or list in it is entered."""
        first = self._at
        while self._at < len(self._text):
            self._skip_blank()
            here = self._peek()
            if here in ("\n", ",", "}", "]", ""):
                return
            if here in "{[":
                self._push(path, "}" if here == "{" else "]")
                return
            word = self._take(_WORD)
            if word is None:
                if not (self._take(_STRING) or self._take(_SUBSTITUTION)):
                    self._at += 1
            elif word.start() == first and _NUMBER.fullmatch(word[0]) and self._ends_value():
                self._found.numbers[path] = word[0]

    def _list_item(self) -> None:
        """Pass over what is in a list; keys of objects in it are of no interest."""
        self._skip_blank(newlines=True, commas=True)
        here = self._peek()
        if here in ("", "]", "}"):
            self._pop()
        elif here in "{[":
            self._push("[]", "}" if here == "{" else "]")
        elif not (self._take(_STRING) or self._take(_SUBSTITUTION) or self._take(_WORD)):
            self._at += 1

    def _in_list(self) -> bool:
        return any(closing == "]" for _, _, closing in self._stack)

    def _push(self, path: str, closing: str) -> None:
        self._stack.append((path, self._line_here(self._at), closing))
        self._at += 1

    def _pop(self) -> None:
        """Leave an object or list; what follows on the same line still belongs to the value around it."""
        if self._at < len(self._text):
            path = self._stack.pop()[0] if self._stack else ""
            self._at += 1
            if not self._in_list():
                self._value(path)

    def _above(self) -> str:
        return self._stack[-1][0] if self._stack else ""

    def _ends_value(self) -> bool:
        self._skip_blank()
        return self._peek() in ("\n", ",", "}", "")

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()
        return match

    def _skip_blank(self, *, newlines: bool = False, commas: bool = False) -> None:
        while (
            self._take(_SPACE)
            or self._comment()
            or (newlines and self._take(_NEWLINES))
            or (commas and self._take(_COMMAS))
        ):
            pass

    def _comment(self) -> bool:
        match = self._take(_COMMENT)
        if match:
            self._found.comments.append(match.span())
        return match is not None

    def _line_here(self, position: int) -> int:
        if position >= self._counted:
            self._line += self._text.count("\n", self._counted, position)
            self._counted = position
            return self._line
        return self._text.count("\n", 0, position) + 1
