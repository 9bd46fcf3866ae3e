"""Finds any of hundreds of known spellings in one pass over a text.

The letters and digits of a text are read in groups of eight (four, for short needles) at fixed distances. A needle that
is long enough holds such a group wherever it begins, so a set of all the groups that needles can show tells at once
whether there is anything to look at, and where. The set is looked up by the interpreter's own loops, which is what makes
this fast without any library.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Collection, Iterable, Iterator

from clearml_agent_clone.logs.forms import Exact, Forms, Needle
from clearml_agent_clone.logs.redact_sieve import Sieve
from clearml_agent_clone.logs.redact_views import View

_GROUPS_AT_ONCE = 512


class _Groups:
    """Needles found by groups of ``size`` letters and digits, one in ``step``, a multiple of it."""

    def __init__(self, size: int, needles: Collection[Needle]) -> None:
        shortest = min((len(needle.skeleton) for needle in needles), default=0)
        self._size = size
        self._step = step = 2 * size if shortest >= 3 * size - 1 else size
        self._code = "Q" if size == 8 else "I"
        found: dict[int, list[tuple[bytes, int, Needle]]] = {}
        for needle in needles:
            letters = needle.skeleton
            # The last groups of it: tokens of one kind begin alike.
            for at in range(len(letters) - step - size + 1, len(letters) - size + 1):
                number = int.from_bytes(letters[at : at + size], sys.byteorder)
                found.setdefault(number, []).append((letters, at, needle))
        self._found = found
        self._numbers = frozenset(found)

    def matches(self, text: bytes) -> Iterator[tuple[int, Needle]]:
        if not self._numbers:
            return
        size = self._size
        numbers = array(self._code)
        numbers.frombytes(text[: len(text) - len(text) % size])
        if self._step > size:
            numbers = numbers[:: self._step // size]
        for begin in range(0, len(numbers), _GROUPS_AT_ONCE):
            some = numbers[begin : begin + _GROUPS_AT_ONCE]
            if self._numbers.isdisjoint(some):
                continue
            for place, number in enumerate(some, begin):
                for letters, at, needle in self._found.get(number, ()):
                    start = place * self._step - at
                    if start >= 0 and text.startswith(letters, start):
                        yield start, needle


class Needles:
    """All that is looked for.

    Args:
        known: by secret, its spellings.
    """

    def __init__(self, known: Iterable[Forms] = ()) -> None:
        known = tuple(known)
        needles = {needle.skeleton: needle for form in known for needle in form.needles if not needle.loose}
        needles.update({needle.skeleton: needle for form in known for needle in form.needles if needle.loose})
        self._groups = (
            _Groups(8, [needle for needle in needles.values() if len(needle.skeleton) > 14]),
            _Groups(4, [needle for needle in needles.values() if len(needle.skeleton) <= 14]),
        )
        self._sieve = Sieve(needles)
        self._exact: tuple[Exact, ...] = tuple(exact for form in known for exact in form.exact)
        self._longest = max(map(len, needles), default=0)
        self._beginnings: dict[bytes, list[Needle]] = {}
        self._short_beginnings: set[bytes] = set()
        for letters, needle in needles.items():
            self._beginnings.setdefault(letters[:4], []).append(needle)
            if len(letters) < 12:
                self._short_beginnings.add(letters[:3])
        self._first = {letters[:length] for letters in needles for length in (1, 2, 3)}

    def spans(self, view: View) -> Iterator[tuple[int, int]]:
        """Where needles stand in the data of ``view``."""
        for groups in self._groups if self._sieve.may_hold(view.data) else ():
            for at, needle in groups.matches(view.skeleton):
                span = needle.span(view.data, *view.places(at, at + len(needle.skeleton)))
                if span is not None:
                    yield span
        for exact in self._exact:
            if exact.anchor in view.data:
                yield from _all(view.data, exact.spellings)

    def open_at(self, view: View, *, idle: bool) -> int:
        """Where in the data of ``view`` something begins that may become a needle with what follows.

        Args:
            view: the text, of which only the end is looked at.
            idle: some time may pass before there is more: a beginning of one to three letters does not count.
        """
        found = self._open_exact(view.data, idle=idle) if self._exact else len(view.data)
        letters = view.skeleton
        begin = max(0, len(letters) - self._longest + 1)
        known = self._beginnings.get
        for at in range(begin, len(letters) - 3):
            needles = known(letters[at : at + 4])
            if needles is not None and self._is_open(view, at, needles, idle=idle):
                return min(found, view.places(at, at + 1)[0])
        first = self._short_beginnings if idle else self._first
        for at in range(max(begin, len(letters) - 3), len(letters)):
            if letters[at:] in first:
                return min(found, view.places(at, at + 1)[0])
        return found

    def _is_open(self, view: View, at: int, needles: Iterable[Needle], *, idle: bool) -> bool:
        tail = view.skeleton[at:]
        for needle in needles:
            longer = len(needle.skeleton) > len(tail) and needle.skeleton.startswith(tail)
            if longer and (not idle or needle.goes_on(view.data[view.places(at, at + 1)[0] :])):
                return True
        return False

    def _open_exact(self, data: bytes, *, idle: bool) -> int:
        least = 3 if idle else 1
        found = len(data)
        for exact in self._exact:
            for spelling in exact.spellings:
                for length in range(min(len(spelling) - 1, len(data)), least - 1, -1):
                    if data.endswith(spelling[:length]):
                        found = min(found, len(data) - length)
                        break
        return found


def _all(data: bytes, spellings: Iterable[bytes]) -> Iterator[tuple[int, int]]:
    for spelling in spellings:
        at = data.find(spelling)
        while at >= 0:
            yield at, at + len(spelling)
            at = data.find(spelling, at + 1)
