"""The spellings in which a known secret may turn up: as it is, and as programs encode it."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

SHORTEST = 4
"""A shorter secret is not masked: it would tear ordinary text to pieces."""

_SHORTEST_LINE = 8  # of a secret with several lines
_SHORTEST_CORE = 8  # of a base64 text cut out of a longer one
_LONGEST = 1024  # no spelling of it is longer than what the redactor holds back
_RUN = b"a" * 12
_CLASSES = bytes(ord("a") if chr(code).isalnum() and code < 128 else ord(" ") for code in range(256))
_SHELL_SPECIAL = re.compile(r"([^\w@%+=:,./-])", re.ASCII)
_DOUBLE_QUOTED_SPECIAL = re.compile(r'([$`"\\])')
_PERCENT = re.compile("%[0-9A-F]{2}")
# How many characters at the start of a base64 text depend on what stands 0, 1 or 2 bytes before the secret.
_FOREIGN_START = (0, 2, 3)


class Needles:
    """The spellings of all secrets, and a quick look at which of them a text can hold.

    Most spellings (base64, hexadecimal, random tokens) have a long run of letters and digits, as most texts have not.
    One look for such a run then spares the search for each of them.
    """

    def __init__(self, needles: frozenset[str] = frozenset()) -> None:
        self.all = needles
        self._with_run = frozenset(needle for needle in needles if _has_run(needle))
        self._others = needles - self._with_run

    def possible_in(self, text: str) -> frozenset[str]:
        """Those that may be in ``text``."""
        return self.all if self._with_run and _has_run(text) else self._others


def _has_run(text: str) -> bool:
    return _RUN in text.encode(errors="surrogatepass").translate(_CLASSES)


def forms(secret: str) -> set[str]:
    """Every spelling of ``secret`` to look for; empty when it is too short to be looked for.

    None holds a line end: a secret of several lines is looked for line by line, and as a whole where an encoding
    puts it on one line. A very long one is looked for piece by piece.
    """
    if len(secret.strip()) < SHORTEST:
        return set()
    found: set[str] = set()
    for piece in _pieces(secret):
        found.update(_encoded(piece))
    lines = secret.splitlines()
    if len(lines) > 1:
        for line in lines:
            if len(line.strip()) >= _SHORTEST_LINE and not line.startswith("-----"):
                found.update(_encoded(line.strip()))
    return {form for form in found if len(form) >= SHORTEST and "\n" not in form and "\r" not in form}


def _pieces(secret: str) -> Iterator[str]:
    for start in range(0, len(secret), _LONGEST):
        piece = secret[start : start + _LONGEST]
        if start == 0 or len(piece) >= _SHORTEST_LINE:
            yield piece


def _encoded(secret: str) -> Iterator[str]:
    raw = secret.encode(errors="surrogateescape")
    yield secret
    yield from _quoted(secret)
    yield from _base64(raw)
    if len(raw) >= _SHORTEST_CORE:
        yield raw.hex()
        yield raw.hex().upper()


def _quoted(secret: str) -> Iterator[str]:
    for safe in ("", "/"):
        for quoted in (
            quote(secret, safe=safe, errors="surrogateescape"),
            quote_plus(secret, safe=safe, errors="surrogateescape"),
        ):
            yield quoted
            yield _PERCENT.sub(lambda match: match[0].lower(), quoted)
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


def _base64(raw: bytes) -> Iterator[str]:
    """The whole, and what of it is the same wherever in a longer text it stands (``user:secret`` for one)."""
    whole = base64.b64encode(raw).decode()
    cores = {whole, whole.rstrip("=")}
    for before, foreign in enumerate(_FOREIGN_START):
        text = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        core = text[foreign:] if (before + len(raw)) % 3 == 0 else text[foreign:-1]
        if len(core) >= _SHORTEST_CORE:
            cores.add(core)
    for core in cores:
        yield core
        yield core.translate(str.maketrans("+/", "-_"))
