"""The next request: what follows in the spool, one of the agent's remarks, or the word that something is missing."""

from __future__ import annotations

import attrs

from clearml_agent_clone.logs.batch import Batch, Events
from clearml_agent_clone.logs.gaps import Gap, Gaps, gap_text
from clearml_agent_clone.logs.reader import LONG_LINE, Piece, Place
from clearml_agent_clone.logs.record import Mark
from clearml_agent_clone.logs.redact import Redactor
from clearml_agent_clone.logs.remarks import Remark, Remarks
from clearml_agent_clone.logs.tail import Tail

OUTPUT_LEVEL = "DEBUG"
"""The level at which the classic agent reports a task's output."""

READ = 1536 * 1024
"""So many bytes of the spool become one request, as long as that is not larger than allowed."""

_LEAST = 1  # one line, however long
_SHRINK = 16


@attrs.frozen
class _Stop:
    """Something of the agent's own to be said when the console has been passed on up to ``at``."""

    at: int
    what: Remark | Gap


class Composer:
    """Makes requests of one spool, one after the other.

    Args:
        tail: reads the spool.
        events: makes events of text.
        remarks: the agent's own.
        gaps: what was given up.
        redactor: for the remarks.
        largest_request: bytes of one request's body.
        read: bytes of the spool for one request at most.
    """

    def __init__(
        self,
        tail: Tail,
        events: Events,
        remarks: Remarks,
        gaps: Gaps,
        redactor: Redactor,
        *,
        largest_request: int,
        read: int = READ,
    ) -> None:
        self._tail = tail
        self._events = events
        self._remarks = remarks
        self._gaps = gaps
        self._redactor = redactor
        self._largest_request = largest_request
        self._largest_read = read
        self._read = read

    @property
    def offset(self) -> int:
        """How many bytes of the spool have become requests."""
        return self._tail.place.offset

    def wake_in(self, now: float) -> float | None:
        """Seconds until an unfinished line is to be shown; None when none waits."""
        return self._tail.wake_in(now)

    def rewind(self, mark: Mark) -> None:
        """Go on from ``mark``, whatever was made since."""
        if self._tail.place != mark.place:
            self._tail.rewind(mark.place)

    def next(self, mark: Mark, now: float, limit: int, *, final: bool) -> Batch | None:
        """The next request, or None when there is nothing to send now.

        Args:
            mark: what holds before it.
            now: seconds of a monotonic clock.
            limit: the spool's end.
            final: also the last line without its end.
        """
        gap = self._gaps.enter(self.offset, max(self._read, LONG_LINE))
        stop = self._stop(mark, limit, gap)
        end = stop.at if stop is not None else limit
        # What comes before a gap will never be continued.
        last = final if stop is None else isinstance(stop.what, Gap)
        while True:
            piece = self._tail.next(now, end, self._read, flush=stop is not None, final=last)
            if piece is None:
                return self._of_stop(stop.what, mark) if stop is not None else None
            batch = self._of_piece(piece, mark, last=final and stop is None)
            if batch.size <= self._largest_request or self._read <= LONG_LINE:
                self._tail.accept(piece)
                return batch
            self._read = max(self._read // 2, LONG_LINE)  # full of characters that JSON spells in six

    def grow(self, sent: int) -> None:
        """A request of ``sent`` bytes was taken: the next may be larger again, when there is room for it."""
        if sent * 2 < self._largest_request:
            self._read = min(self._read * (2 if self._read >= LONG_LINE else _SHRINK), self._largest_read)

    def shrink(self, *, for_good: bool) -> bool:
        """Make smaller requests, down to a single line; False when they are that small.

        Args:
            for_good: the size was the reason, and will be.
        """
        if self._read <= _LEAST:
            return False
        self._read = max(self._read // _SHRINK, _LEAST) if self._read > _SHRINK**2 else _LEAST
        if for_good:
            self._largest_read = max(self._read, self._largest_read // 2)
        return True

    def _stop(self, mark: Mark, limit: int, gap: Gap | None) -> _Stop | None:
        """What comes first, when it comes before ``limit``."""
        remark = self._remarks.after(mark.remarks)
        if remark is not None and remark.at <= limit and (gap is None or remark.at <= gap.begin):
            return _Stop(remark.at, remark)
        if gap is not None and gap.begin < limit:
            return _Stop(gap.begin, gap)
        return None

    def _of_piece(self, piece: Piece, mark: Mark, *, last: bool) -> Batch:
        text = piece.text
        if text and not text.strip() and not mark.stamp:
            text = f" {text}"  # ClearML's web page stumbles over a console that begins with an empty event
        lines, stamp = self._events.make(text, OUTPUT_LEVEL, mark.stamp)
        count = piece.text.count("\n") + (last and bool(piece.text) and not piece.text.endswith("\n"))
        return Batch(lines, attrs.evolve(mark, place=piece.place, stamp=stamp, lines=mark.lines + count))

    def _of_stop(self, what: Remark | Gap, mark: Mark) -> Batch:
        if isinstance(what, Remark):
            place = attrs.evolve(mark.place, fresh=True)
            return self._own(what.level, what.text, attrs.evolve(mark, place=place, remarks=mark.remarks + 1), mark)
        begin = max(what.begin, mark.place.offset)
        after = attrs.evolve(
            mark,
            place=Place(what.end),
            dropped_bytes=mark.dropped_bytes + what.end - begin,
            dropped_lines=mark.dropped_lines + what.lines,
        )
        batch = self._own("WARNING", gap_text(what), after, mark)
        self._tail.rewind(after.place)
        return batch

    def _own(self, level: str, text: str, after: Mark, before: Mark) -> Batch:
        text = ("" if before.place.fresh else "\n") + self._redactor.redact(text) + "\n"
        lines, stamp = self._events.make(text, level, before.stamp)
        return Batch(lines, attrs.evolve(after, stamp=stamp))
