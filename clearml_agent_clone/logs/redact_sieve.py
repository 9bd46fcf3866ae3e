"""Tells in a fraction of the time of a search that a text holds none of the needles.

Most of a usual text is small letters. What programs make up as secrets has all kinds of letters and digits, and so have
base64 and hexadecimal spellings. So only some letters and digits are kept of a text, rare ones, and it is looked whether
what is kept of a needle stands there. Whatever is left out, a text that holds the needle holds what is kept of it too.
"""

from __future__ import annotations

import string
import sys
from array import array
from collections.abc import Collection, Iterator

import attrs

_RARE = string.ascii_uppercase + "jqxzkvwyb"
# What may be kept, and how much of a usual text that is.
_CHOICES: tuple[tuple[str, float], ...] = (
    (_RARE, 0.07),
    (_RARE + "56789", 0.18),
    (_RARE + "3456789", 0.22),
    (_RARE + string.digits + "ghfpmu", 0.42),
    (string.digits + string.ascii_letters, 0.75),
)
_SIZE = 8
_LONG = 2 * _SIZE - 1  # what is that long holds a group of eight, wherever the groups begin
_SHORT = 4  # what is shorter stands in too many texts
_LOOK_UP = 6.0  # costs, in nanoseconds for each byte looked at
_PASS = 0.7


@attrs.frozen
class _Plan:
    """What is kept of a text, what of it is looked for in groups, and what one by one."""

    kept: bytes
    grouped: Collection[bytes] = ()
    single: Collection[bytes] = ()

    def cost(self, share: float) -> float:
        """Nanoseconds for each byte of a usual text, of which ``share`` is kept."""
        groups = _LOOK_UP / (1 + (self.step > _SIZE)) if self.grouped else 0.0
        return _PASS + share * (groups + _PASS * len(self.single))

    @property
    def step(self) -> int:
        """The distance of groups such that every one of ``grouped`` holds one of them."""
        return 2 * _SIZE if min(map(len, self.grouped), default=0) >= 3 * _SIZE - 1 else _SIZE


class Sieve:
    """Says of most texts that they hold none of ``needles``.

    Args:
        needles: letters and digits, at least seven each.
    """

    def __init__(self, needles: Collection[bytes]) -> None:
        plans = [(plan, share) for kept, share in _CHOICES if (plan := _plan(kept.encode(), needles)) is not None]
        plan = min(plans, key=lambda known: known[0].cost(known[1]))[0]
        self._dropped = _without(plan.kept)
        self._single = tuple(plan.single)
        self._leap = plan.step // _SIZE
        self._numbers = frozenset(number for letters in plan.grouped for number in _numbers(letters, plan.step))

    def may_hold(self, text: bytes) -> bool:
        """False: none of the needles stands in the letters and digits of ``text``."""
        kept = text.translate(None, self._dropped)
        if self._numbers:
            groups = array("Q")
            groups.frombytes(memoryview(kept)[: len(kept) - len(kept) % _SIZE])
            if not self._numbers.isdisjoint(groups[:: self._leap] if self._leap > 1 else groups):
                return True
        return any(letters in kept for letters in self._single)


def _plan(kept: bytes, needles: Collection[bytes]) -> _Plan | None:
    dropped = _without(kept)
    texts = {letters.translate(None, dropped) for letters in needles}
    if any(len(letters) < _SHORT for letters in texts):
        return None
    return _Plan(
        kept,
        tuple(letters for letters in texts if len(letters) >= _LONG),
        tuple(letters for letters in texts if len(letters) < _LONG),
    )


def _without(kept: bytes) -> bytes:
    return bytes(code for code in range(256) if code not in kept)


def _numbers(letters: bytes, step: int) -> Iterator[int]:
    """The groups in the end of ``letters``, one of which is read wherever they begin; its start may be like others'."""
    for at in range(len(letters) - step - _SIZE + 1, len(letters) - _SIZE + 1):
        yield int.from_bytes(letters[at : at + _SIZE], sys.byteorder)
