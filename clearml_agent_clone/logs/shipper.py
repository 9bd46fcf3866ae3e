"""Carry a task's console from its spool to the server: in order, within a second, nothing lost, nothing shown twice.

What "delivered" means: the offset is written down after the server's answer. When the agent dies between the two, or
when an answer gets lost on its way, it is not known whether the server has the last request (at most 2 MiB). With
``arrived`` the shipper asks, and neither repeats nor loses it. Without, it sends that request again. One gap remains:
a request so slow that the server stores it after it has said twice, a second and a half apart, that it has none.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.logs.ahead import Ahead
from clearml_agent_clone.logs.batch import LARGEST_REQUEST, Batch, Events
from clearml_agent_clone.logs.compose import OUTPUT_LEVEL, Composer
from clearml_agent_clone.logs.echo import Echo, Screen
from clearml_agent_clone.logs.fold import Fold
from clearml_agent_clone.logs.gaps import Gaps
from clearml_agent_clone.logs.keeper import Keeper
from clearml_agent_clone.logs.reader import LONG_LINE, Place, Reader
from clearml_agent_clone.logs.record import claim_record
from clearml_agent_clone.logs.redact import Redactor
from clearml_agent_clone.logs.remarks import Remark, Remarks
from clearml_agent_clone.logs.sender import Sender, Sent
from clearml_agent_clone.logs.spool import Spool
from clearml_agent_clone.logs.tail import Tail
from clearml_agent_clone.logs.trial import Trial

__all__ = ["OUTPUT_LEVEL", "Delivery", "Shipper"]

_PLENTY = 192 * 1024
_REQUESTS_PER_STEP = 16
_KEPT = 64 * 1024 * 1024
_MOST_WAITING = 4 * 1024 * 1024 * 1024
_APART = 0.4
_LOOK = 0.15
_LOCK_LOOK = 0.2


@attrs.frozen
class Delivery:
    """What became of a console.

    Attributes:
        shipped_lines: lines that the server has, over all runners of this run.
        shipped_bytes: bytes of the spool that it has.
        undelivered_bytes: bytes of the spool that it refused or that were not sent in time.
        errors: why, the latest last; each once.
        dropped_bytes: bytes that were given up because the server was away and the disk space used up.
        dropped_lines: lines of these.
    """

    shipped_lines: int
    shipped_bytes: int
    undelivered_bytes: int
    errors: tuple[str, ...] = ()
    dropped_bytes: int = 0
    dropped_lines: int = 0

    @property
    def complete(self) -> bool:
        """Whether the server has it all."""
        return not (self.undelivered_bytes or self.dropped_bytes)


class Shipper:
    """Ships one spool; a ``util.loops.Loop``.

    Args:
        spool: the console.
        send: sends JSON lines as one ``events.add_batch`` and returns the server's answer. Raises ``Retryable`` when
            it may work later, ``Fatal`` when the server refused the events.
        task_id: the task whose console it is.
        worker_id: who reports.
        folder: where the offset and the remarks are written down; the spool's own folder will do.
        redactor: what every text passes.
        fold_carriage_returns: ``agent.suppress_carriage_return``: keep only the last state of a progress bar.
        screens: where the console is shown as well, whether or not the server can be reached.
        arrived: tells whether the server has the log event of this task with a given timestamp (milliseconds).
        largest_request: bytes of one request's body; what ``send`` would cut in two belongs in two.
        keep_bytes: so much of what was shipped stays on disk; what is older is given back to the file system.
        most_waiting: ``agent.console_max_bytes``: of what was not shipped so much stays, the middle is given up; 0
            for no limit but the disk.
        clock: Unix seconds, for timestamps.
        monotonic: seconds, for ``finish``; the same clock as the ``now`` of ``step``.
        sleep: how ``finish`` waits for a server that is away; by default so that ``interrupt`` ends it.
        draw: a number from 0 to 1, for the jitter.

    Attributes:
        keeper: a loop of its own that keeps disk use within its bound, also while a request hangs.
        echoes: loops of their own that fill the screens.

    Raises:
        Fatal: another process ships this console (``console-taken``).
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
        screens: Sequence[Screen] = (),
        arrived: Callable[[int], bool] | None = None,
        largest_request: int = LARGEST_REQUEST,
        keep_bytes: int = _KEPT,
        most_waiting: int = _MOST_WAITING,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._claim = claim_record(folder)
        self._stop = threading.Event()
        self._spool = spool
        self._monotonic = monotonic
        self._sleep = sleep or self._stop.wait
        self._remarks = Remarks(folder)
        self._gaps = Gaps(spool, folder)
        self._sender = Sender(send, folder, arrived, draw)
        self._trial = Trial(self._sender)
        fold = Fold(keep_last_state=fold_carriage_returns)
        place = self._first_place()
        self.echoes = tuple(
            Echo(spool, screen, redactor, fold=fold, gaps=self._gaps, place=place) for screen in screens
        )
        tail = Tail(Reader(spool, redactor, fold), place)
        events = Events(task_id, worker_id, clock)
        self._composer = Composer(tail, events, self._remarks, self._gaps, redactor, largest_request=largest_request)
        self._ready: deque[Batch] = deque()
        self.keeper = Keeper(
            spool,
            self._gaps,
            lambda: self._sender.mark.place.offset,
            self.remark,
            keep_bytes=keep_bytes,
            most_waiting=most_waiting,
        )
        self._not_before = float("-inf")
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
        for echo in self.echoes:
            echo.say(text)

    def remarked(self, text: str) -> bool:
        """Whether this was said by ``remark`` before, by whichever runner of this run."""
        return self._remarks.holds(text.rstrip("\n"))

    def step(self, now: float) -> float:
        """Ship what is new, as far as the server takes it; returns after how many seconds to call again.

        A server that is away costs nothing but delay: the spool keeps the console.

        Args:
            now: seconds of a monotonic clock.
        """
        with self._lock:
            delay = self._ship_new(now)
            if delay:
                self._sender.save()
            return delay

    def interrupt(self) -> None:
        """Have ``finish`` raise ``Cancelled`` instead of waiting for the server. May be called from any thread.

        What was not delivered stays in the spool, and the record says from where on: whoever opens the same folder
        next goes on. A request that is under way is not given up; the process may simply end.
        """
        self._stop.set()

    def finish(self, deadline: float | None = None) -> Delivery:
        """Ship all that is in the spool now, to the last byte, and tell what became of it.

        May be called again, to try once more with what was left. What the server refused is said as the console's
        last line. The screens get the rest at the same time, however long they or the server take.

        Args:
            deadline: give up at this time of the monotonic clock; None waits for the server as long as it takes.

        Raises:
            Cancelled: ``interrupt`` was called.
        """
        showing = [threading.Thread(target=_show_rest, args=(echo,), daemon=True) for echo in self.echoes]
        for thread in showing:
            thread.start()
        self._take_lock()
        try:
            if self._trial.suspects:
                self._ready.clear()
                self._trial.restart()
            if self._ship_all(deadline) and self._say_what_is_lost():
                self._ship_all(deadline)
            if self._spool.dropped:
                self._sender.note(f"{self._spool.dropped} bytes of the agent's own could not be written")
            return self.delivery
        finally:
            self._sender.save(durable=True)
            self._lock.release()
            for thread in showing:
                while thread.is_alive() and not self._stop.is_set():
                    thread.join(_LOCK_LOOK)

    @property
    def delivery(self) -> Delivery:
        """How things stand now."""
        mark = self._sender.mark
        return Delivery(
            shipped_lines=mark.lines,
            shipped_bytes=mark.place.offset - mark.lost_bytes - mark.dropped_bytes,
            undelivered_bytes=self._spool.size() - mark.place.offset + mark.lost_bytes,
            errors=tuple(self._sender.errors),
            dropped_bytes=mark.dropped_bytes,
            dropped_lines=mark.dropped_lines,
        )

    def _take_lock(self) -> None:
        while not self._lock.acquire(timeout=_LOCK_LOOK):  # a step may be waiting for an answer
            if self._stop.is_set():
                raise Cancelled

    def _ship_all(self, deadline: float | None) -> bool:
        """Ship what is there now; False when that could not be done."""
        goal, given_up = self._spool.size(), self._trial.given_up
        self._sender.unblock()
        while (pause := self._ship_next(self._monotonic(), goal, final=True)) is not None:
            if self._trial.given_up > given_up:
                return False
            if pause:
                if deadline is not None and self._monotonic() + pause > deadline:
                    return False
                self._sleep(pause)
                self._sender.unblock()
            if self._stop.is_set():
                raise Cancelled
        return True

    def _say_what_is_lost(self) -> bool:
        mark = self._trial.mark
        text = (
            f"clearml_agent: WARNING: {mark.lost_lines} lines ({mark.lost_bytes} bytes) could not be delivered:"
            f" {self._sender.refusal or 'the server refused them'}"
        )
        if not mark.lost_bytes or self._remarks.last_text.startswith(text.partition(" delivered:")[0]):
            return False
        self.remark("WARNING", text)
        return True

    def _ship_new(self, now: float) -> float:
        size = self._spool.size()
        if now < self._not_before and size - self._composer.offset < _PLENTY:
            return min(self._not_before - now, _LOOK)  # what comes meanwhile goes along
        for _ in range(_REQUESTS_PER_STEP):
            pause = self._ship_next(now, size, final=False)
            if pause is None:
                wake_in = self._composer.wake_in(now)
                return _LOOK if wake_in is None else min(_LOOK, wake_in)
            if pause:
                return pause
            self._not_before = now + _APART
        return 0.0

    def _ship_next(self, now: float, limit: int, *, final: bool) -> float | None:
        """Send one request. 0: it is done with; more: wait so many seconds; None: there is nothing to send."""
        pause = self._sender.blocked(now)
        if pause:
            return pause
        if not self._ready:
            if not self._sender.settle_doubt(now):
                return self._sender.blocked(now)
            self._composer.rewind(self._trial.mark)
            batch = self._composer.next(self._trial.mark, now, limit, final=final)
            if batch is None and self._trial.suspects and not final:
                self._trial.give_up(now)  # there is nothing behind them that would show whether it is their fault
                return self._sender.blocked(now)
            if batch is None:
                return None
            self._ready.append(batch)
        return self._send_first(now, limit, final=final)

    def _send_first(self, now: float, limit: int, *, final: bool) -> float:
        batch = self._ready[0]
        if not batch.lines:
            self._trial.skip(batch.after)
            self._ready.popleft()
            return 0.0
        more = len(self._ready) == 1 and limit - self._composer.offset >= _PLENTY and not self._trial.suspects
        with Ahead(lambda: self._composer.next(batch.after, now, limit, final=final), wanted=more) as ahead:
            sent = self._sender.deliver(batch, now)
        if (following := ahead.result()) is not None:
            self._ready.append(following)
        if sent is Sent.TAKEN:
            self._ready.popleft()
            self._trial.taken()
            self._composer.grow(batch.size)
            self.keeper.give_back()
        elif sent is not Sent.LATER:
            self._ready.clear()
            self._trial.refused(batch.after, now, smaller=self._can_shrink(batch, for_good=sent is Sent.TOO_LARGE))
        return self._sender.blocked(now)

    def _can_shrink(self, batch: Batch, *, for_good: bool) -> bool:
        before, after = self._trial.mark, batch.after
        several = after.lines - before.lines > 1 or after.place.offset - before.place.offset > LONG_LINE
        return several and self._composer.shrink(for_good=for_good)

    def _first_place(self) -> Place:
        place, size = self._sender.mark.place, self._spool.size()
        if place.offset < self._spool.first() and self._gaps.across(place.offset, self._spool.first()) is None:
            # the record is lost, and so is the beginning of the console
            self._sender.note("the beginning of the console was given back to the file system")
            place = Place(self._spool.first())
            self._sender.skip(attrs.evolve(self._sender.mark, place=place))
        if place.offset > size:  # a power cut, or somebody truncated it
            self._sender.note(f"{place.offset - size} bytes of the console file are gone")
            place = Place(size)
            self._sender.skip(attrs.evolve(self._sender.mark, place=place))
        return place


def _show_rest(echo: Echo) -> None:
    with contextlib.suppress(OSError):  # nobody waited any more for a screen that stood still: the spool is closed
        echo.finish()
