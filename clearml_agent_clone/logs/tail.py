"""When to pass on what: lines at once, an unfinished line when it has waited for a second."""

from __future__ import annotations

from clearml_agent_clone.logs.reader import LONG_LINE, Piece, Place, Reader

_FIRST_WAIT = 0.35  # with the time it takes to see the line and until the next request, less than a second
_LONGEST_WAIT = 5.0


class Tail:
    """Follows one spool.

    A line without its end is shown within a second. A progress bar that goes on redrawing it is shown again after
    a moment, twice that and so on up to every five seconds, until the line ends.

    Attributes:
        place: how far it got.
    """

    def __init__(
        self, reader: Reader, place: Place, first_wait: float = _FIRST_WAIT, longest_wait: float = _LONGEST_WAIT
    ) -> None:
        self.place = place
        self._reader = reader
        self._first_wait = first_wait
        self._longest_wait = longest_wait
        self._wait = first_wait
        self._due: float | None = None  # when the unfinished line is to be shown
        self._looked = (-1, -1)  # offset and size when there was no complete line
        self._considered = 0  # the size up to which the unfinished line has been dealt with

    def next(
        self, now: float, limit: int, most: int = LONG_LINE, *, flush: bool = False, final: bool = False
    ) -> Piece | None:
        """What is to be passed on now. It comes again, and may have grown, until ``accept`` is called.

        Args:
            now: seconds of a monotonic clock.
            limit: end of the spool, or where to stop before it.
            most: read so many bytes at most.
            flush: pass an unfinished line on at once.
            final: pass it on to its last byte: nothing more will come.
        """
        if limit <= self.place.offset:
            self._due = None
            return None
        if self._looked != (self.place.offset, limit):
            piece = self._reader.lines(self.place, limit, most)
            if piece is not None:
                return piece
            self._looked = (self.place.offset, limit)
        if flush or final:
            return self._reader.unfinished(self.place, limit, final=final)
        return self._when_due(now, limit)

    def accept(self, piece: Piece) -> None:
        """``piece`` has been passed on."""
        if piece.place.fresh:
            self._wait, self._due = self._first_wait, None
        elif piece.redrawn:
            self._wait = min(self._wait * 2, self._longest_wait)
        self.place = piece.place

    def rewind(self, place: Place) -> None:
        """Go on from ``place``, whatever was passed on since."""
        self.place = place
        self._due = None
        self._looked = (-1, -1)
        self._considered = 0

    def wake_in(self, now: float) -> float | None:
        """Seconds until an unfinished line is to be shown; None when none waits."""
        return None if self._due is None else max(0.0, self._due - now)

    def _when_due(self, now: float, limit: int) -> Piece | None:
        if limit == self._considered:
            return None
        if self._due is None:
            self._due = now + self._wait
        if now < self._due:
            return None
        piece = self._reader.unfinished(self.place, limit)
        self._due = None
        self._considered = limit
        return piece
