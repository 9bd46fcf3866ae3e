"""The spellings in which a known secret may turn up: as it is, and as programs encode it."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from functools import cached_property
from urllib.parse import quote, quote_plus

import attrs

from clearml_agent_clone.logs.redact_views import View, decoded, skeleton

SHORTEST = 4
"""A shorter secret is not masked: it would tear ordinary text to pieces."""
SHORTEST_SKELETON = 7
"""So many letters and digits of a spelling make it one that is found by them."""

_SHORTEST_LINE = 8  # of a secret with several lines
_SHORTEST_CORE = 8  # of a base64 text cut out of a longer one
_SHORTEST_CUT = 14
_LONGEST = 96  # letters and digits of one needle; something longer is looked for in pieces
_SHELL_SPECIAL = re.compile(r"([^\w@%+=:,./-])", re.ASCII)
_DOUBLE_QUOTED_SPECIAL = re.compile(r'([$`"\\])')
_PERCENT = re.compile("%[0-9A-F]{2}")
_EDGES = re.compile(rb"\A([^0-9A-Za-z]*)(.*?)([^0-9A-Za-z]*)\Z", re.DOTALL)
_BLANKS = re.compile(rb"[\s\0]+")
_QUOTING = re.compile(rb"[%\\&'\"+]")
_LINE_END = re.compile(r"[\r\n]+")
_WRAP = re.compile(rb"[\r\n]+[ \t]*")
# How many characters at the start of a base64 text depend on what stands 0, 1 or 2 bytes before the secret.
_FOREIGN_START = (0, 2, 3)
_PADDING = re.compile(rb"={0,2}")


@attrs.frozen(eq=False, slots=False)  # cached properties need a dictionary
class Needle:
    """One spelling, as the letters and digits to look for.

    Attributes:
        skeleton: those, in order.
        secret: the secret whose plain spelling this is; empty for an encoded one.
        loose: whatever stands between them, it is the secret. Otherwise it has to be one of its known spellings:
            ``zebra-crossing`` is a secret that other texts may say in passing.
        padded: the end of a base64 text, to which equals signs may belong.
    """

    skeleton: bytes
    secret: str = ""
    loose: bool = True
    padded: bool = False

    @cached_property
    def _cores(self) -> frozenset[bytes]:
        return frozenset(_edges(form)[1] for form in quoted(self.secret))

    @cached_property
    def _borders(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """What may stand right before and after, longest first: the signs with which the secret begins and ends."""
        found = [_edges(form) for form in quoted(self.secret)]
        leads, trails = ({edges[place] for edges in found if edges[place]} for place in (0, 2))
        return tuple(sorted(leads, key=len, reverse=True)), tuple(sorted(trails, key=len, reverse=True))

    def goes_on(self, data: bytes) -> bool:
        """Whether ``data``, which holds the first letters and digits of it, is how the secret itself begins.

        "the ones" is not how ``one-secret`` begins, unless signs were taken out of it.
        """
        if not self.secret or _QUOTING.search(data):
            return True
        return _BLANKS.sub(b"", _edges(_encode(self.secret))[1]).startswith(_BLANKS.sub(b"", data))

    def _is_spelled(self, text: bytes) -> bool:
        if _WRAP.sub(b"", text) in self._cores:
            return True
        # An indentation takes the blanks of the secret with it. UTF-16 has a NUL behind every letter.
        return (b"\n" in text or b"\0" in text) and _BLANKS.sub(b"", text) in {
            _BLANKS.sub(b"", core) for core in self._cores
        }

    def span(self, data: bytes, start: int, stop: int) -> tuple[int, int] | None:
        """All of the secret of which ``data[start:stop]`` holds the letters and digits; None when it is none."""
        if not self.loose and not self._is_spelled(data[start:stop]):
            return None
        if not self.secret:
            padding = _PADDING.match(data, stop) if self.padded else None
            return start, padding.end() if padding else stop
        if self.secret[0].isalnum() and self.secret[-1].isalnum() and self.secret.isascii():
            return start, stop
        leads, trails = self._borders
        start -= next((len(lead) for lead in leads if data.endswith(lead, 0, start)), 0)
        stop += next((len(trail) for trail in trails if data.startswith(trail, stop)), 0)
        return start, stop


@attrs.frozen
class Exact:
    """Spellings of a secret that has too few letters and digits to be found by them.

    Attributes:
        anchor: letters and digits that all of them hold, so that one look spares the others; may be empty.
        spellings: what to look for, byte by byte.
    """

    anchor: bytes
    spellings: tuple[bytes, ...]


@attrs.frozen
class Forms:
    """Every spelling of a secret to look for."""

    needles: tuple[Needle, ...] = ()
    exact: tuple[Exact, ...] = ()


def forms(secret: str) -> Forms:
    """Every spelling of ``secret`` to look for; none when it is too short to be looked for.

    A secret of several lines is looked for line by line, and as a whole where an encoding puts it on one line.
    """
    if len(secret.strip()) < SHORTEST:
        return Forms()
    needles: dict[bytes, Needle] = {}
    lines = [
        line.strip() for line in secret.splitlines() if len(line.strip()) >= _SHORTEST_LINE and line[:5] != "-----"
    ]
    plain = [secret.rstrip("\r\n")]
    if _LINE_END.search(plain[0]):
        plain = lines
        # Where line ends are escaped it stands on one line. No other text says all of it.
        needles.update((piece, Needle(piece)) for piece in _pieces(skeleton(_encode(secret))))
    few = [*(_plain(text, needles) for text in plain), _hidden({secret, *plain}, needles)]
    return Forms(tuple(needles.values()), tuple(map(_exact, filter(None, few))))


def _hidden(texts: Iterable[str], needles: dict[bytes, Needle]) -> set[bytes]:
    """As ``_plain`` for encodings that leave nothing of ``texts`` as it is."""
    few = set()
    for text in texts:
        for spelling in _encoded(_encode(text)):
            letters = skeleton(spelling)
            if len(letters) < SHORTEST_SKELETON:
                few.add(spelling)
            for piece in _pieces(letters):
                needles.setdefault(piece, Needle(piece, padded=letters.endswith(piece)))
    return few


def _encode(text: str) -> bytes:
    return text.encode(errors="surrogatepass")


def quoted(secret: str) -> set[bytes]:
    """The spellings that quote ``secret`` or escape its signs, and that itself."""
    return {
        _encode(form) for form in _quoted(secret) if "\n" not in form and "\r" not in form and len(form) >= SHORTEST
    }


def _plain(text: str, needles: dict[bytes, Needle]) -> set[bytes]:
    """Adds the needles for ``text`` to ``needles``; returns spellings that have too few letters and digits for it."""
    raw = _encode(text)
    letters = skeleton(raw)
    if len(letters) < SHORTEST_SKELETON:
        return quoted(text)
    for found in {letters, *(view.skeleton for view in decoded(View(raw)))}:
        pieces = list(_pieces(found))
        for piece in pieces:
            loose = len(pieces) > 1 or found != letters or _is_random(piece)
            needles[piece] = Needle(piece, text if len(pieces) == 1 else "", loose)
        if (
            pieces and len(pieces[0]) >= _SHORTEST_CUT
        ):  # a percent sign or a backslash before it may take its first letters away
            needles.setdefault(pieces[0][2:], Needle(pieces[0][2:]))
    return set()


def _is_random(letters: bytes) -> bool:
    """Whether no other text has just these letters and digits in this order."""
    kinds = sum(any(map(kind, letters.decode())) for kind in (str.islower, str.isupper, str.isdigit))
    return len(letters) >= 16 or (len(letters) > SHORTEST_SKELETON and kinds > 1)


def _pieces(letters: bytes) -> Iterator[bytes]:
    count = max(1, len(letters) // _LONGEST)
    length = -(-len(letters) // count)
    for start in range(0, len(letters), length):
        piece = letters[start : start + length]
        if len(piece) >= SHORTEST_SKELETON:
            yield piece


def _exact(spellings: set[bytes]) -> Exact:
    runs = re.findall(rb"[0-9A-Za-z]+", min(spellings, key=len))
    anchor = max((run for run in runs if all(run in spelling for spelling in spellings)), key=len, default=b"")
    return Exact(anchor, tuple(sorted(spellings)))


def _edges(form: bytes) -> tuple[bytes, bytes, bytes]:
    match = _EDGES.match(form)
    assert match is not None
    return match[1], match[2], match[3]


def _encoded(raw: bytes) -> Iterator[bytes]:
    yield from _base64(raw)
    if len(raw) >= _SHORTEST_CORE // 2:
        yield raw.hex().encode()
        yield raw.hex().upper().encode()


def _quoted(secret: str) -> Iterator[str]:
    yield secret
    for safe in ("", "/"):
        for form in (
            quote(secret, safe=safe, errors="surrogatepass"),
            quote_plus(secret, safe=safe, errors="surrogatepass"),
        ):
            yield form
            yield _PERCENT.sub(lambda match: match[0].lower(), form)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield json.dumps(secret)[1:-1].replace("/", "\\/")
    yield json.dumps(json.dumps(secret))[3:-3]
    yield repr(secret)[1:-1]
    yield shlex.quote(secret).strip("'")
    yield secret.replace("'", "'\\''")
    yield _SHELL_SPECIAL.sub(r"\\\1", secret)
    yield _DOUBLE_QUOTED_SPECIAL.sub(r"\\\1", secret)
    yield html.escape(secret)
    yield html.escape(secret, quote=False)


def _base64(raw: bytes) -> Iterator[bytes]:
    """The whole, and what of it is the same wherever in a longer text it stands (``user:secret`` for one)."""
    cores = {base64.b64encode(raw).rstrip(b"=")}
    for before, foreign in enumerate(_FOREIGN_START):
        text = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
        cores.add(text[foreign:] if (before + len(raw)) % 3 == 0 else text[foreign:-1])
    for core in cores:
        if len(core) >= _SHORTEST_CORE:
            yield core
            if len(skeleton(core)) < SHORTEST_SKELETON:
                yield core.translate(bytes.maketrans(b"+/", b"-_"))
