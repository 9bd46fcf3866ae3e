"""Show a task's console on the terminal of a run in the foreground."""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs

from clearml_agent_clone.logs.fold import Fold
from clearml_agent_clone.logs.reader import Place, Reader
from clearml_agent_clone.logs.redact import Redactor
from clearml_agent_clone.logs.spool import Spool
from clearml_agent_clone.logs.tail import Tail

_READ = 256 * 1024
_FLOWING = 0.05
_IDLE = 0.2
_FIRST_WAIT = 0.2


class Echo:
    r"""Passes a spool on as redacted text; a ``util.loops.Loop``. It knows no server and waits for none.

    Args:
        spool: the console.
        write: gets the text, in order.
        redactor: what every text passes.
        fold: what becomes of carriage returns.
        redraw: what goes before the new state of a progress bar; for a terminal ``\r\x1b[K`` draws over the old one.
        place: where to begin; by default with the first byte.
    """

    name = "echo"

    def __init__(
        self,
        spool: Spool,
        write: Callable[[str], None],
        redactor: Redactor,
        *,
        fold: Fold | None = None,
        redraw: str = "\n",
        place: Place | None = None,
    ) -> None:
        self._spool = spool
        self._write = write
        self._redactor = redactor
        self._lock = threading.Lock()
        self._tail = Tail(Reader(spool, redactor, fold or Fold(), redraw), place or Place(), _FIRST_WAIT)

    @property
    def offset(self) -> int:
        """How many bytes of the spool it is done with."""
        return self._tail.place.offset

    def step(self, now: float) -> float:
        """Write what is new; returns after how many seconds to call again."""
        with self._lock:
            wrote = self._pass_on(now, self._spool.size())
        return _FLOWING if wrote else _IDLE

    def finish(self) -> None:
        """Write the rest, also a last line without end."""
        with self._lock:
            self._pass_on(0.0, self._spool.size(), final=True)

    def say(self, text: str) -> None:
        """Write a line of the agent's own, after what is in the spool. May be called from any thread."""
        with self._lock:
            self._pass_on(0.0, self._spool.size(), flush=True)
            place = self._tail.place
            self._write(("" if place.fresh else "\n") + self._redactor.redact(text) + "\n")
            self._tail.place = attrs.evolve(place, fresh=True)

    def _pass_on(self, now: float, limit: int, *, flush: bool = False, final: bool = False) -> bool:
        wrote = False
        while (piece := self._tail.next(now, limit, _READ, flush=flush, final=final)) is not None:
            self._tail.accept(piece)
            if piece.text:
                self._write(piece.text)
                wrote = True
        return wrote
