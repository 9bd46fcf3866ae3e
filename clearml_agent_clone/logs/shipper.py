"""Carry a task's console from its spool to the server: in order, within a second, nothing lost, nothing shown twice.

What "delivered" means: the offset is written down after the server's answer. When the agent dies between the two, or
when an answer gets lost on its way, it is not known whether the server has the last request (at most 1 MiB). With
``arrived`` the shipper asks, and neither repeats nor loses it. Without, it sends that request again. One gap remains:
a request so slow that the server stores it after it was asked for it and said no.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.logs.batch import LARGEST_REQUEST, Batch, Events
from clearml_agent_clone.logs.echo import Echo
from clearml_agent_clone.logs.fold import Fold
from clearml_agent_clone.logs.reader import LONG_LINE, Piece, Place, Reader
from clearml_agent_clone.logs.redact import Redactor
from clearml_agent_clone.logs.remarks import Remark, Remarks
from clearml_agent_clone.logs.sender import Sender
from clearml_agent_clone.logs.spool import Spool
from clearml_agent_clone.logs.tail import Tail

OUTPUT_LEVEL = "DEBUG"
"""The level at which the classic agent reports a task's output."""

_READ = 768 * 1024
_REQUESTS_PER_STEP = 16
_KEPT = 64 * 1024 * 1024
_FLOWING = 0.15
_IDLE = 0.25


@attrs.frozen
class Delivery:
    """What became of a console.

    Attributes:
        shipped_lines: lines that the server has, over all runners of this run.
        shipped_bytes: bytes of the spool that it has.
        undelivered_bytes: bytes of the spool that it refused or that were not sent in time.
        errors: why, the latest last; each once.
    """

    shipped_lines: int
    shipped_bytes: int
    undelivered_bytes: int
    errors: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the server has it all."""
        return not self.undelivered_bytes


class Shipper:
    """Ships one spool; a ``util.loops.Loop``. A second shipper on the same spool at the same time is not allowed.

    Args:
        spool: the console.
        send: sends JSON lines as one ``events.add_batch`` and returns the server's answer. Raises ``Retryable`` when
            it may work later, ``Fatal`` when the server refused the events.
        task_id: the task whose console it is.
        worker_id: who reports.
        folder: where the offset and the remarks are written down; the spool's own folder will do.
        redactor: what every text passes.
        fold_carriage_returns: ``agent.suppress_carriage_return``: keep only the last state of a progress bar.
        echo: also gets the redacted text, as soon as it is read, whether or not the server can be reached. It waits
            while a request is under way; an ``Echo`` of your own in another thread does not.
        arrived: tells whether the server has the log event of this task with a given timestamp (milliseconds).
        largest_request: bytes of one request's body; what ``send`` would cut in two belongs in two.
        keep_bytes: so much of what was shipped stays on disk; what is older is given back to the file system.
        clock: Unix seconds, for timestamps.
        monotonic: seconds, for ``finish``; the same clock as the ``now`` of ``step``.
        sleep: how ``finish`` waits for a server that is away.
        draw: a number from 0 to 1, for the jitter.
    """

    name = "console"

    def __init__(  # noqa: PLR0917 - spool, sender, task, worker, folder, redactor: none can be left out
        self,
        spool: Spool,
        send: Callable[[Sequence[bytes]], Any],
        task_id: str,
        worker_id: str,
        folder: Path,
        redactor: Redactor,
        *,
        fold_carriage_returns: bool = True,
        echo: Callable[[str], None] | None = None,
        arrived: Callable[[int], bool] | None = None,
        largest_request: int = LARGEST_REQUEST,
        keep_bytes: int = _KEPT,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._spool = spool
        self._redactor = redactor
        self._monotonic = monotonic
        self._sleep = sleep
        self._events = Events(task_id, worker_id, clock)
        self._remarks = Remarks(folder)
        self._sender = Sender(send, folder, arrived, draw)
        fold = Fold(keep_last_state=fold_carriage_returns)
        self._tail = Tail(Reader(spool, redactor, fold), self._first_place())
        self._echo = Echo(spool, echo, redactor, fold=fold, place=self._tail.place) if echo is not None else None
        self._pending: tuple[Batch, Piece | None] | None = None
        self._most = _READ
        self._largest_request = largest_request
        self._keep_bytes = keep_bytes
        self._delay = _FLOWING
        self._lock = threading.Lock()

    def remark(self, level: str, text: str) -> None:
        """Add a line of the agent's own at its own level, after all that is in the spool now.

        It is written down at once and delivered by ``step`` or ``finish``. May be called from any thread.

        Args:
            level: such as INFO, WARNING, ERROR.
            text: redacted before it leaves.
        """
        text = text.rstrip("\n")
        self._remarks.add(Remark(self._spool.size(), level, text))
        if self._echo is not None:
            self._echo.say(text)

    def step(self, now: float) -> float:
        """Ship what is new, as far as the server takes it; returns after how many seconds to call again.

        A server that is away costs nothing but delay: the spool keeps the console.

        Args:
            now: seconds of a monotonic clock.
        """
        with self._lock:
            echo_delay = self._echo.step(now) if self._echo is not None else math.inf
            return min(self._ship_new(now), echo_delay)

    def finish(self, deadline: float | None = None) -> Delivery:
        """Ship all that is in the spool now, to the last byte, and tell what became of it.

        May be called again, to try once more with what was left.

        Args:
            deadline: give up at this time of the monotonic clock; None waits for the server as long as it takes.
        """
        with self._lock:
            if self._echo is not None:
                self._echo.finish()
            goal = self._spool.size()
            self._sender.unblock()
            while (pause := self._ship_next(self._monotonic(), goal, final=True)) is not None:
                if pause and self._sender.refusals > 1:
                    break  # refused twice in a row, and so will be the rest
                if pause:
                    if deadline is not None and self._monotonic() + pause > deadline:
                        break
                    self._sleep(pause)
                    self._sender.unblock()
            if self._spool.dropped:
                self._sender.note(f"{self._spool.dropped} bytes of the agent's own could not be written")
            self._sender.save()
            return self.delivery

    @property
    def delivery(self) -> Delivery:
        """How things stand now."""
        mark = self._sender.mark
        return Delivery(
            shipped_lines=mark.lines,
            shipped_bytes=mark.place.offset - mark.lost_bytes,
            undelivered_bytes=self._spool.size() - mark.place.offset + mark.lost_bytes,
            errors=tuple(self._sender.errors),
        )

    def _ship_new(self, now: float) -> float:
        shipped = False
        for _ in range(_REQUESTS_PER_STEP):
            pause = self._ship_next(now, self._spool.size(), final=False)
            if pause is None:
                break
            if pause:
                return pause
            shipped = True
        else:
            return 0.0
        self._delay = _FLOWING if shipped else min(self._delay * 1.25, _IDLE)
        wake_in = self._tail.wake_in(now)
        return self._delay if wake_in is None else min(self._delay, wake_in)

    def _ship_next(self, now: float, limit: int, *, final: bool) -> float | None:
        """Send one request. 0: it is done with; more: wait so many seconds; None: there is nothing to send."""
        pause = self._sender.blocked(now)
        if pause:
            return pause
        if self._pending is None:
            if not self._sender.settle_doubt(now):
                return self._sender.blocked(now)
            if self._sender.mark.place != self._tail.place:
                self._tail.place = self._sender.mark.place
            self._pending = self._compose(now, limit, final=final)
        if self._pending is None:
            return None
        batch, piece = self._pending
        if not batch.lines:
            self._sender.skip(batch.after)
        elif not self._sender.deliver(batch, now):
            return self._sender.blocked(now)
        if piece is not None:
            self._tail.accept(piece)
        self._pending = None
        if batch.size * 2 < self._largest_request:
            self._most = min(self._most * 2, _READ)
        self._give_back()
        return self._sender.blocked(now)

    def _give_back(self) -> None:
        offset = self._sender.mark.place.offset
        if self._echo is not None:
            offset = min(offset, self._echo.offset)
        if offset > self._keep_bytes:
            self._spool.give_back(offset - self._keep_bytes)

    def _compose(self, now: float, limit: int, *, final: bool) -> tuple[Batch, Piece | None] | None:
        """The next request: the console up to the next remark, or that remark."""
        remark = self._remarks.after(self._sender.mark.remarks)
        due = remark is not None and remark.at <= limit
        end = remark.at if remark is not None and due else limit
        while True:
            piece = self._tail.next(now, end, self._most, flush=due, final=final and not due)
            if piece is None:
                return (self._remark_batch(remark), None) if remark is not None and due else None
            batch = self._batch(piece, last=final and not due)
            if batch.size <= self._largest_request or self._most <= LONG_LINE:
                return batch, piece
            self._most = max(self._most // 2, LONG_LINE)  # full of characters that JSON spells in six

    def _batch(self, piece: Piece, *, last: bool) -> Batch:
        mark, text = self._sender.mark, piece.text
        if text and not text.strip() and not mark.stamp:
            text = f" {text}"  # ClearML's web page stumbles over a console that begins with an empty event
        lines, stamp = self._events.make(text, OUTPUT_LEVEL, mark.stamp)
        count = piece.text.count("\n") + (last and bool(piece.text) and not piece.text.endswith("\n"))
        return Batch(lines, attrs.evolve(mark, place=piece.place, stamp=stamp, lines=mark.lines + count))

    def _remark_batch(self, remark: Remark) -> Batch:
        mark = self._sender.mark
        text = ("" if mark.place.fresh else "\n") + self._redactor.redact(remark.text) + "\n"
        lines, stamp = self._events.make(text, remark.level, mark.stamp)
        place = attrs.evolve(mark.place, fresh=True)
        return Batch(lines, attrs.evolve(mark, place=place, stamp=stamp, remarks=mark.remarks + 1))

    def _first_place(self) -> Place:
        place, size = self._sender.mark.place, self._spool.size()
        if place.offset < self._spool.first():  # the record is lost, and so is the beginning of the console
            self._sender.note("the beginning of the console was given back to the file system")
            place = Place(self._spool.first())
            self._sender.skip(attrs.evolve(self._sender.mark, place=place))
        if place.offset > size:  # a power cut, or somebody truncated it
            self._sender.note(f"{place.offset - size} bytes of the console file are gone")
            place = Place(size)
            self._sender.skip(attrs.evolve(self._sender.mark, place=place))
        return place
