"""What to do with console that the server refuses: find the lines it does not take, and go on behind them.

A refused request is sent again in smaller ones, down to a single line. A line that is refused alone is passed over for
the time being. When something behind it is taken, it was that line's fault: it is counted as lost. When nothing behind
it is taken either, it is no line's fault but the task's or the server's: nothing is lost yet, and all is tried again
later.
"""

from __future__ import annotations

import logging

import attrs

from clearml_agent_clone.logs.record import Mark
from clearml_agent_clone.logs.sender import Sender

log = logging.getLogger(__name__)

_ENOUGH = 4  # refused lines in a row that show that it is not the lines; twice as many the next time
_MOST = 256
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class Trial:
    """Where the next request begins: after what was delivered, and after what seems to be undeliverable.

    Attributes:
        suspects: how many lines in a row were refused alone.
        given_up: how often it turned out that the server takes nothing at all.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._ahead: Mark | None = None
        self._pauses = 0
        self.suspects = 0
        self.given_up = 0

    @property
    def mark(self) -> Mark:
        """What holds before the next request, once that is taken."""
        return self._ahead or self._sender.mark

    def skip(self, mark: Mark) -> None:
        """Go on from ``mark``; nothing had to be sent to get there."""
        if self._ahead is None:
            self._sender.skip(mark)
        else:
            self._ahead = mark

    def taken(self) -> None:
        """The server took a request."""
        if self._ahead is not None:
            log.warning("%d lines of console were refused: %s", self.suspects, self._sender.refusal)
        self._ahead = None
        self._pauses = self.suspects = 0

    def refused(self, after: Mark, now: float, *, smaller: bool) -> None:
        """The server refused a request.

        Args:
            after: what would hold if it had been taken.
            now: seconds of a monotonic clock.
            smaller: it can be sent in smaller requests.
        """
        if smaller:
            return
        self.suspects += 1
        if self.suspects > min(_ENOUGH << self._pauses, _MOST) or self._nothing_in(after):
            self.give_up(now)
        else:
            self._pass_over(after)

    def give_up(self, now: float) -> None:
        """Begin again where the delivered ends, after a while."""
        self.restart()
        self.given_up += 1
        self._sender.wait(now, min(_FIRST_PAUSE * 2.0**self._pauses, _LONGEST_PAUSE))
        self._pauses += 1

    def restart(self) -> None:
        """Begin again where the delivered ends."""
        self._ahead = None
        self.suspects = 0

    def _nothing_in(self, after: Mark) -> bool:
        """Whether it was the beginning of a line only: that is sent again with what follows."""
        before = self.mark
        return after.place.offset == before.place.offset and after.remarks == before.remarks

    def _pass_over(self, after: Mark) -> None:
        before = self.mark
        lost = after.place.offset - before.place.offset
        self._ahead = attrs.evolve(
            after,
            place=attrs.evolve(after.place, fresh=before.place.fresh),
            lines=before.lines,
            lost_lines=before.lost_lines + max(after.lines - before.lines, 0),
            lost_bytes=before.lost_bytes + lost,
        )
