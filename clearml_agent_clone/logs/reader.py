"""From bytes in the spool to text that may leave: decoded, folded, redacted, cut at line ends.

A ``Reader`` remembers nothing. It is told a ``Place`` and answers with a ``Piece``: the text that follows, and the
place after it. So a place written down is all that is needed to go on, in this process or in the next.
"""

from __future__ import annotations

import codecs
import re

import attrs

from clearml_agent_clone.logs.fold import Fold
from clearml_agent_clone.logs.redact import Redactor
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
        context: the end of what stood before ``offset`` on the same line, for the redactor to look at.
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
        end = self._fold.complete(data[:most]) or self._fold.first(data)
        if end:
            return self._complete(place, data[:end])
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
        raw, _ = codecs.utf_8_decode(data, "surrogateescape", final)
        start, state = self._fold.unfinished(raw)
        place = _moved(place, start, raw) if start else place
        if not final:
            state = state[: self._redactor.settled(state, place.context)]
        target = self._safe(state, place.context)
        text, redrawn = self._continuation(place, target)
        if final:
            return Piece(text, Place(limit, fresh=place.fresh and not text), redrawn)
        if not (text and target) or (place.shown.startswith(target) and not place.replaced):
            return None
        return Piece(text, attrs.evolve(place, shown=target, replaced=False, fresh=False), redrawn)

    def _complete(self, place: Place, data: bytes) -> Piece:
        after = Place(place.offset + len(data))
        text = self._fold.line_ends(data.decode("utf-8", "surrogateescape"))
        begin = ""
        redrawn = False
        if place.shown or place.replaced or place.context:
            line, _, text = text.partition("\n")
            start, state = self._fold.unfinished(line)
            if start:
                place = _moved(place, start, line)
            begin, redrawn = self._continuation(place, self._safe(state, place.context))
            begin += "\n"
        return Piece(begin + self._safe(self._fold.lines(text)), after, redrawn)

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
        return ("" if place.fresh else self._redraw) + target, True

    def _safe(self, text: str, context: str = "") -> str:
        text = self._redactor.redact(text, context)
        if "\0" in text:
            text = text.replace("\0", "\u2400")  # a NUL ends the text for many a reader and data base
        return text if text.isascii() else _UNENCODABLE.sub("\ufffd", text)


def _moved(place: Place, characters: int, raw: str) -> Place:
    """``place`` behind states of its line that were overwritten."""
    return attrs.evolve(place, offset=place.offset + _bytes(raw[:characters]), replaced=True, context="")


def _bytes(raw: str) -> int:
    return len(raw.encode("utf-8", "surrogateescape"))
