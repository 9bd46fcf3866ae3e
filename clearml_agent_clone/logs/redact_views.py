r"""A text as it is searched: without colours, with its escapes decoded, reduced to letters and digits.

Programs wrap, colour, quote and encode what they print. All of that adds or replaces signs between letters and digits,
so a secret is looked for among letters and digits alone: one search finds ``pa55/w0rd-x1``, ``pa55\/w0rd-x1``, the same
over two lines, and base64 in both alphabets. A find is then traced back to where it stands.
"""

from __future__ import annotations

import binascii
import html
import re
import string
from bisect import bisect_right
from functools import cached_property, lru_cache
from itertools import compress

_KEPT = (string.ascii_letters + string.digits).encode()
_DROPPED = bytes(code for code in range(256) if code not in _KEPT)
_FLAGS = bytes(code in _KEPT for code in range(256))
_BLOCK = 4096
_HOLE = b"\x1f"
_OFTEN = 96  # ANSI sequences closer than that are taken out one kind after the other,
_SAMPLE = 16 * 1024
_FEW = 12  # of which there may be so many
_DEEPEST = 3  # so many times a URL may be quoted

ANSI = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]{0,256}(?:\x07|\x1b\\)|[()][0-9AB]|[=>78cDEHMNOZ])")
# Each pattern begins with a plain character, which lets the search leap from one to the next.
_BACKSLASH = re.compile(
    rb"\\\\*(?:u[dD][89abAB][0-9A-Fa-f]{2}\\+u[dD][c-fC-F][0-9A-Fa-f]{2}"
    rb"|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|u\{[0-9A-Fa-f]{1,6}\}|x[0-9A-Fa-f]{2}|[0-7]{3}|[abfnrtv]|(?=[^\w\\]))"
)
_CONTROLS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"t": b"\t", b"v": b"\v"}  # an escaped line end is no line end
_ENTITY = re.compile(rb"&(?:amp;)*(?:#[xX][0-9A-Fa-f]{1,6};|#[0-9]{1,7};|[A-Za-z]{2,8};)")
_PERCENT = re.compile(rb"%[0-9A-Fa-f]{2}")
_PERCENTS = re.compile(rb"(?:%[0-9A-Fa-f]{2})+")
_CODES = {(high + low).encode(): bytes([int(high + low, 16)]) for high in string.hexdigits for low in string.hexdigits}
# The beginning of an escape or of a colour, at the very end of a text.
_UNFINISHED = re.compile(
    rb"(?:%(?:25)*[0-9A-Fa-f]?|\\+(?:u[0-9A-Fa-f]{0,3}|U[0-9A-Fa-f]{0,7}|u\{[0-9A-Fa-f]{0,6}|x[0-9A-Fa-f]?|[0-7]{1,2})?"
    rb"|&(?:#?\w{0,8})|\x1b(?:\[[0-?]*[ -/]*)?)\Z"
)


def skeleton(data: bytes) -> bytes:
    """The ASCII letters and digits of ``data``."""
    return data.translate(None, _DROPPED)


class View:
    """A text after replacements, and the way back from a place in it to the text that it was made of.

    Args:
        data: the text to search.
        below: the view it was made of.
        pattern: what was replaced in that one; with ``below``.
    """

    def __init__(self, data: bytes, below: View | None = None, pattern: re.Pattern[bytes] | None = None) -> None:
        self.data = data
        self._below = below
        self._pattern = pattern
        self._edits: tuple[list[int], list[tuple[int, int, int]]] | None = None
        self._counts: list[int] = []
        self._blocks: dict[int, list[int]] = {}

    @cached_property
    def skeleton(self) -> bytes:
        """The letters and digits of ``data``."""
        return skeleton(self.data)

    def places(self, start: int, stop: int) -> tuple[int, int]:
        """Where the letters and digits ``start`` to ``stop`` stand in ``data``."""
        return self._place(start), self._place(stop - 1) + 1

    def origin(self, start: int, stop: int) -> tuple[int, int]:
        """Where ``data[start:stop]`` stands in the text as it was given."""
        if self._below is None:
            return start, stop
        return self._below.origin(
            self._back(start)[0], self._back(stop - 1)[1] if stop > start else self._back(stop)[0]
        )

    def _place(self, index: int) -> int:
        if not self._counts:
            total = 0
            for at in range(0, len(self.data), _BLOCK):
                self._counts.append(total)
                total += len(skeleton(self.data[at : at + _BLOCK]))
        number = bisect_right(self._counts, index) - 1
        block = self._blocks.get(number)
        if block is None:
            at = number * _BLOCK
            piece = self.data[at : at + _BLOCK]
            block = self._blocks[number] = list(compress(range(at, at + len(piece)), piece.translate(_FLAGS)))
        return block[index - self._counts[number]]

    def _back(self, at: int) -> tuple[int, int]:
        """The span in the text below that the byte ``at`` came from."""
        starts, edits = self._edits or self._list_edits()
        number = bisect_right(starts, at) - 1
        if number < 0:
            return at, at + 1
        length, begin, end = edits[number]
        if at < starts[number] + length:
            return begin, end
        at += end - starts[number] - length
        return at, at + 1

    def _list_edits(self) -> tuple[list[int], list[tuple[int, int, int]]]:
        assert self._below is not None
        assert self._pattern is not None
        starts: list[int] = []
        edits: list[tuple[int, int, int]] = []
        shift = 0
        for match in self._pattern.finditer(self._below.data):
            length = len(_decoded(match[0]))
            starts.append(match.start() - shift)
            edits.append((length, *match.span()))
            shift += match.end() - match.start() - length
        self._edits = (starts, edits)
        return self._edits


def without_colours(data: bytes) -> View:
    """``data`` without ANSI sequences."""
    if b"\x1b" not in data:
        return View(data)
    sample = data[:_SAMPLE]
    often = sample.count(b"\x1b") > len(sample) // _OFTEN
    return View(_few_colours_out(data) if often else ANSI.sub(b"", data), View(data), ANSI)


def _few_colours_out(data: bytes) -> bytes:
    """As ``ANSI.sub``, several times as fast where the same few sequences come again and again."""
    if b"\x1b]" in data or _HOLE in data:  # a title may hold what looks like a sequence
        return ANSI.sub(b"", data)
    rest, at = data, data.find(b"\x1b")
    for _ in range(_FEW):
        match = ANSI.match(rest, at)
        if match is None:
            break
        # Its place stays: what stood before and behind it must not become a sequence together.
        rest = rest.replace(match[0], _HOLE * len(match[0]))
        at = rest.find(b"\x1b", at)
        if at < 0:
            return rest.translate(None, _HOLE)
    return ANSI.sub(b"", rest).translate(None, _HOLE)


def decoded(view: View) -> list[View]:
    r"""``view`` with its ``%41``, ``\x41``, ``\u0041`` and ``&#65;`` decoded; empty when there is nothing of the kind.

    A percent sign or a backslash right before a secret looks like an escape together with how that begins, and the
    secret may hold such signs itself. So each kind is decoded alone too, and percent signs level by level.
    """
    levels = [view]
    while len(levels) <= _DEEPEST and b"%" in levels[-1].data and _PERCENT.search(levels[-1].data):
        levels.append(View(_unquoted(levels[-1].data), levels[-1], _PERCENT))
    found = levels[1:]
    for level in levels:
        patterns = [
            *((_BACKSLASH,) if b"\\" in level.data else ()),
            *((_ENTITY,) if b"&" in level.data and _ENTITY.search(level.data) else ()),
        ]
        once = [View(pattern.sub(_replacement, level.data), level, pattern) for pattern in patterns]
        found += once
        if len(once) > 1:
            found.append(View(_ENTITY.sub(_replacement, once[0].data), once[0], _ENTITY))
    return found


def unfinished_escape(data: bytes) -> int:
    """Where an escape begins that ``data`` does not hold in full; its length when there is none."""
    match = _UNFINISHED.search(data, max(0, len(data) - 64))
    return match.start() if match else len(data)


def _unquoted(data: bytes) -> bytes:
    """``data`` with its ``%41`` decoded."""
    if data.count(b"%") > len(data) // 4:  # one behind the other
        return _PERCENTS.sub(lambda match: binascii.unhexlify(match[0].translate(None, b"%")), data)
    first, *parts = data.split(b"%")
    code = _CODES.get
    return first + b"".join([(code(part[:2]) or b"%" + part[:2]) + part[2:] for part in parts])


def _replacement(match: re.Match[bytes]) -> bytes:
    return _decoded(match[0])


@lru_cache(maxsize=2048)
def _decoded(escape: bytes) -> bytes:
    if escape[:1] == b"%":
        return bytes([int(escape[-2:], 16)])
    if escape[:1] == b"&":
        name = escape[1:].decode()
        while name.startswith("amp;") and len(name) > 4:
            name = name[4:]
        return html.unescape(f"&{name}").encode("utf-8", "surrogatepass")
    return b"" if escape[:1] == b"\x1b" else _of_backslash(escape.lstrip(b"\\"))


def _of_backslash(code: bytes) -> bytes:
    if len(code) < 2:
        return _CONTROLS.get(code, b" ") if code else b""
    if b"\\" in code:
        high, low = int(code[1:5], 16), int(code[-4:], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00).encode()
    if code[:1].isdigit():
        return bytes([int(code, 8) % 256])
    number = int(code[1:].strip(b"{}"), 16)
    return bytes([number]) if code[:1] == b"x" else chr(min(number, 0x10FFFF)).encode("utf-8", "surrogatepass")
