"""Show a task's console on the terminal of a run in the foreground."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

import attrs

from clearml_agent_clone.logs.fold import Fold
from clearml_agent_clone.logs.gaps import Gaps, gap_text
from clearml_agent_clone.logs.reader import Place, Reader
from clearml_agent_clone.logs.redact import Redactor
from clearml_agent_clone.logs.spool import Spool
from clearml_agent_clone.logs.tail import Tail

log = logging.getLogger(__name__)

REDRAW_LINE = "\r\x1b[K"
"""What a terminal is sent before the new state of a line."""

_READ = 256 * 1024
_FLOWING = 0.05
_IDLE = 0.2
_FIRST_WAIT = 0.2
_NO_WAIT = 0.1
_LONGEST_WAIT = 5.0


@attrs.frozen
class Screen:
    """Where a console is shown.

    Attributes:
        write: gets the text, in order. It may take its time.
        terminal: it can draw over a line, so that a progress bar moves.
    """

    write: Callable[[str], None]
    terminal: bool = False


class Echo:
    """Passes a spool on as redacted text; a ``util.loops.Loop``. It knows no server and waits for none.

    Args:
        spool: the console.
        screen: where it is shown.
        redactor: what every text passes.
        fold: what becomes of carriage returns.
        gaps: what was given up.
        place: where to begin; by default with the first byte.
    """

    name = "echo"

    def __init__(
        self,
        spool: Spool,
        screen: Screen,
        redactor: Redactor,
        *,
        fold: Fold | None = None,
        gaps: Gaps | None = None,
        place: Place | None = None,
    ) -> None:
        self._spool = spool
        self._screen: Screen | None = screen
        self._redactor = redactor
        self._gaps = gaps
        self._said: deque[tuple[int, str]] = deque()
        self._lock = threading.Lock()
        redraw, longest = (REDRAW_LINE, _NO_WAIT) if screen.terminal else ("\n", _LONGEST_WAIT)
        reader = Reader(spool, redactor, fold or Fold(), redraw)
        self._tail = Tail(reader, place or Place(), min(_FIRST_WAIT, longest), longest)

    @property
    def offset(self) -> int:
        """How many bytes of the spool it is done with."""
        return self._tail.place.offset

    def step(self, now: float) -> float:
        """Write what is new; returns after how many seconds to call again."""
        with self._lock:
            wrote = self._pass_on(now, self._spool.size())
            wait = _FLOWING if wrote else _IDLE
            wake_in = self._tail.wake_in(now)
            return wait if wake_in is None else min(wait, wake_in)

    def finish(self) -> None:
        """Write the rest, also a last line without end."""
        with self._lock:
            self._pass_on(0.0, self._spool.size(), final=True)

    def say(self, text: str) -> None:
        """Have a line of the agent's own written after what is in the spool now. Never waits; from any thread."""
        self._said.append((self._spool.size(), text))

    def _pass_on(self, now: float, limit: int, *, final: bool = False) -> bool:
        wrote = False
        while self._said:
            at, text = self._said[0]
            wrote |= self._up_to(now, at, flush=True)
            self._said.popleft()
            self._say(text)
            wrote = True
        return self._up_to(now, limit, final=final) or wrote

    def _up_to(self, now: float, limit: int, *, flush: bool = False, final: bool = False) -> bool:
        wrote = False
        while True:
            missing = self._missing(limit)
            if missing is not None and missing[0] <= self.offset:
                self._leap(*missing[1:])
                wrote = True
                continue
            end = limit if missing is None else missing[0]
            piece = self._tail.next(now, end, _READ, flush=flush, final=final or missing is not None)
            if piece is None and missing is None:
                return wrote
            if piece is None or self._missing(piece.place.offset) is not None:
                if missing is not None and piece is None:
                    self._leap(*missing[1:])
                continue  # it went while it was read
            self._tail.accept(piece)
            if piece.text:
                self._write(piece.text)
                wrote = True

    def _missing(self, limit: int) -> tuple[int, int, str] | None:
        """What is not there any more before ``limit``: its begin, its end, what to say of it."""
        begin, back = self.offset, self._spool.given_back
        if begin < back:
            return begin, back, f"clearml_agent: WARNING: {back - begin} bytes were not shown in time"
        gap = self._gaps.across(begin, limit) if self._gaps is not None else None
        return None if gap is None else (gap.begin, gap.end, gap_text(gap))

    def _leap(self, behind: int, text: str) -> None:
        self._say(text)
        self._tail.rewind(Place(behind))

    def _say(self, text: str) -> None:
        place = self._tail.place
        self._write(("" if place.fresh else "\n") + self._redactor.redact(text) + "\n")
        self._tail.place = attrs.evolve(place, fresh=True)

    def _write(self, text: str) -> None:
        if self._screen is None:
            return
        try:
            self._screen.write(text)
        except (OSError, ValueError) as error:  # the reader of a pipe has left, a file was closed: the task goes on
            self._screen = None
            log.warning("the console is not shown any more: %s", error)
