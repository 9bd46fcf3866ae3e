"""From bytes in the spool to text that may leave: decoded, folded, redacted, cut at line ends.

A ``Reader`` remembers nothing. It is told a ``Place`` and answers with a ``Piece``: the text that follows, and the
place after it. So a place written down is all that is needed to go on, in this process or in the next.
"""

from __future__ import annotations

import codecs
import re

import attrs

from clearml_agent_clone.logs.fold import Fold
from clearml_agent_clone.logs.redact import LEAST_HELD, MASK, Redactor
from clearml_agent_clone.logs.spool import Spool

LONG_LINE = 64 * 1024
"""A line longer than this many bytes is passed on in parts, so that no line can fill the memory."""

_UNENCODABLE = re.compile("[\ud800-\udfff]")


@attrs.frozen
class Place:
    """How far a console has been passed on.

    Attributes:
        offset: byte in the spool; all before it is done with.
        shown: what has been passed on already of the line, or of its present state, that begins at ``offset``.
        replaced: what begins at ``offset`` takes the place of a state that was shown.
        fresh: the last thing passed on ended its line.
        context: the end of what stood before ``offset``, for the redactor to look at.
    """

    offset: int = 0
    shown: str = ""
    replaced: bool = False
    fresh: bool = True
    context: str = ""


@attrs.frozen
class Piece:
    """Text to pass on, and the place after it. ``redrawn``: it repeats a line in a new state."""

    text: str
    place: Place
    redrawn: bool = False


class Reader:
    r"""Reads a spool as text that may leave this machine.

    The concatenated texts are the console: a line that was shown unfinished is continued, not repeated. Only a line
    that was shown unfinished and is then overwritten (a progress bar) is shown once more, after ``redraw``.

    Args:
        spool: where to read.
        redactor: what every text passes.
        fold: what becomes of carriage returns.
        redraw: put before the new state of a line; ``\n`` for a log, something else for a terminal.
    """

    def __init__(self, spool: Spool, redactor: Redactor, fold: Fold, redraw: str = "\n") -> None:
        self._spool = spool
        self._redactor = redactor
        self._fold = fold
        self._redraw = redraw

    def lines(self, place: Place, limit: int, most: int) -> Piece | None:
        """The complete lines from ``place`` on, or a part of a very long one; None when there is neither.

        Args:
            place: where to begin.
            limit: read nothing behind this byte.
            most: as many lines as these bytes hold, but one at least, or ``LONG_LINE`` bytes of one.
        """
        data = self._spool.read(place.offset, min(max(most, LONG_LINE), limit - place.offset))
        end = first = self._fold.complete(data[:most]) or self._fold.first(data)
        while end:
            piece = self._complete(place, data[:end])
            more = self._fold.first(data[end:])
            if piece is not None or not more:
                break
            end += more  # they may hold a secret together
        if end and len(data) < LONG_LINE:
            return piece
        if end:
            return piece or self._complete(place, data[:first], final=True)
        return self._part(place, data) if len(data) >= LONG_LINE else None

    def unfinished(self, place: Place, limit: int, *, final: bool = False) -> Piece | None:
        """What of the unfinished line at ``place`` has not been shown; None when there is nothing.

        Args:
            place: where the line begins; ``lines`` had nothing.
            limit: read nothing behind this byte.
            final: the line will never be finished: show all of it, also what might be half a character or the
                beginning of a secret.
        """
        data = self._spool.read(place.offset, limit - place.offset)
        if not data:
            return None
        end = self._fold.complete(data)
        if end and final:
            place, text = self._folded(place, self._fold.line_ends(data[:end].decode("utf-8", "surrogateescape")))
            _, rest = self._fold.unfinished(data[end:].decode("utf-8", "surrogateescape"))
            return self._shown(place, text + rest, Place(limit, fresh=not rest))
        raw, _ = codecs.utf_8_decode(data, "surrogateescape", final)
        if end:  # complete, but it may be the beginning of a secret of several lines
            place, state = self._folded(place, self._fold.line_ends(data[:end].decode("utf-8", "surrogateescape")))
            state = state[: min(self._redactor.settled(state, place.context, idle=True), state.find("\n"))]
        else:
            start, state = self._fold.unfinished(raw)
            place = _moved(place, start, raw) if start else place
            state = state if final else state[: self._redactor.settled(state, place.context, idle=True)]
        target = self._safe(state, place.context)
        text, redrawn = self._continuation(place, target)
        if final:
            return Piece(text, Place(limit, fresh=place.fresh and not text), redrawn)
        if not (text and target) or (place.shown.startswith(target) and not place.replaced):
            return None
        return Piece(text, attrs.evolve(place, shown=target, replaced=False, fresh=False), redrawn)

    def _complete(self, place: Place, data: bytes, *, final: bool = False) -> Piece | None:
        """Complete lines, but for the last of them that may be the beginning of a secret of several lines."""
        before, text = self._folded(place, self._fold.line_ends(data.decode("utf-8", "surrogateescape")))
        end = len(data)
        if not final:
            settled = self._redactor.settled(text, before.context, idle=True, lines=True)
            if not settled:
                return None
            for _ in range(text.count("\n", settled)):
                end = self._fold.complete(data[: end - 1])
            text = text[:settled]
        after = Place(place.offset + end, context=self._redactor.context_after(text, before.context))
        return self._shown(before, text, after)

    def _shown(self, before: Place, text: str, after: Place) -> Piece:
        shown = self._safe(text, before.context)
        if not before.shown and not before.replaced:
            return Piece(shown, after)
        first, _, rest = shown.partition("\n")
        begin, redrawn = self._continuation(before, first)
        return Piece(f"{begin}\n{rest}", after, redrawn)

    def _folded(self, place: Place, text: str) -> tuple[Place, str]:
        """Complete lines in their last states, and ``place`` behind the states of the first that were overwritten."""
        if not place.shown and not place.replaced and (place.fresh or not place.context):
            return place, self._fold.lines(text)
        line, _, text = text.partition("\n")
        start, state = self._fold.unfinished(line)
        return (_moved(place, start, line) if start else place), f"{state}\n{self._fold.lines(text)}"

    def _part(self, place: Place, data: bytes) -> Piece:
        """The beginning of a very long line. What may be the beginning of a secret stays for the next part."""
        raw, _ = codecs.utf_8_decode(data, "surrogateescape", False)
        body = raw.rstrip("\r")
        start = body.rfind("\r") + 1
        if start:
            return Piece("", _moved(place, start, raw))
        if not body:  # the last carriage return may belong to a line end
            return Piece("", attrs.evolve(place, offset=place.offset + len(raw) - 1))
        # Behind a carriage return nothing can continue a secret.
        part = body if len(body) < len(raw) else body[: self._redactor.settled(body, place.context)]
        target = self._safe(self._fold.unfinished(part)[1], place.context)
        after = attrs.evolve(
            place,
            offset=place.offset + _bytes(part),
            context=self._redactor.context_after(part, place.context),
            shown="",
            replaced=False,
        )
        if place.shown.startswith(target) and not place.replaced:
            return Piece("", attrs.evolve(after, shown=place.shown[len(target) :]))
        text, redrawn = self._continuation(place, target)
        return Piece(text, attrs.evolve(after, fresh=place.fresh and not text), redrawn)

    def _continuation(self, place: Place, target: str) -> tuple[str, bool]:
        """What to add to what was shown of a line, so that a reader sees ``target``; and whether that is a redraw."""
        if target.startswith(place.shown) and (place.shown or not place.replaced):
            return target[len(place.shown) :], False
        same = next((at for at, (a, b) in enumerate(zip(place.shown, target, strict=False)) if a != b), 0)
        masked = target.startswith(MASK, same) or target.endswith(MASK, 0, same)
        if masked and _letters(place.shown[same:]) < LEAST_HELD and not place.replaced:
            return target[same:], False  # they have turned out to be the beginning of a secret
        return ("" if place.fresh else self._redraw) + target, True

    def _safe(self, text: str, context: str = "") -> str:
        text = self._redactor.redact(text, context)
        if "\0" in text:
            text = text.replace("\0", "\u2400")  # a NUL ends the text for many a reader and data base
        return text if text.isascii() else _UNENCODABLE.sub("\ufffd", text)


def _moved(place: Place, characters: int, raw: str) -> Place:
    """``place`` behind states of its line that were overwritten."""
    return attrs.evolve(place, offset=place.offset + _bytes(raw[:characters]), replaced=True, context="")


def _letters(text: str) -> int:
    return sum(character.isalnum() for character in text)


def _bytes(raw: str) -> int:
    return len(raw.encode("utf-8", "surrogateescape"))
