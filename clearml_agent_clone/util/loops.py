"""Loops of one duty each: the duty says what and when, the thread here says how."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Protocol

import attrs

from clearml_agent_clone.errors import AgentError, Cancelled, Retryable

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
TELL_EVERY = 300.0
"""Seconds between log lines of a loop that fails in the same way all the time."""

_LEAST_PAUSE = 0.05


class Loop(Protocol):
    """A duty that is done again and again. Tests call ``step`` themselves, with a time of their choosing."""

    name: str

    def step(self, now: float) -> float:
        """Do the duty once and return after how many seconds it wants to be called again.

        Args:
            now: seconds of a monotonic clock.

        Raises:
            Retryable: it did not work this time; the caller backs off and calls again.
        """
        ...


@attrs.frozen
class LoopHealth:
    """How a loop fares. Times are seconds of the loop's monotonic clock.

    Attributes:
        name: the loop's.
        last_success: end of the last step that worked; None before the first.
        last_error: what went wrong in the last step; empty when it worked.
        errors: how many steps went wrong since the loop was started.
        failing_since: first step that went wrong since the last that worked.
        due: when a step should next begin; stays in the past until one has worked. None before the start.
    """

    name: str
    last_success: float | None = None
    last_error: str = ""
    errors: int = 0
    failing_since: float | None = None
    due: float | None = None

    def late(self, now: float) -> float:
        """For how many seconds a step that works is overdue: whether the loop fails, hangs, or has died."""
        return 0.0 if self.due is None else max(0.0, now - self.due)


class Backoff:
    """Pauses that double from half a second to half a minute, each drawn from its upper half."""

    def __init__(self, draw: Callable[[], float] = random.random) -> None:
        self._draw = draw
        self._next = FIRST_PAUSE

    def failed(self) -> float:
        pause = self._next * (0.5 + self._draw() / 2)
        self._next = min(self._next * 2, LONGEST_PAUSE)
        return pause

    def worked(self) -> None:
        self._next = FIRST_PAUSE


class LoopThread:
    """Runs one loop in a thread of its own until it is stopped.

    An error of the agent's own kind is logged, unless that was done for all who meet it, and the step tried again
    later, when the error says so if it does. Any other error is a bug: it is logged with its traceback and the loop
    goes on, because a dead heartbeat costs a user more than a repeated message.
    """

    def __init__(self, loop: Loop, clock: Callable[[], float] = time.monotonic) -> None:
        self.health = LoopHealth(loop.name)
        self._loop = loop
        self._clock = clock
        self._backoff = Backoff()
        self._stopping = False
        self._wake = threading.Event()
        self._told: tuple[str, float | None] | None = None
        self._told_at = 0.0
        self._thread = threading.Thread(target=self._run, name=loop.name, daemon=True)

    def start(self) -> None:
        self.health = attrs.evolve(self.health, due=self._clock())
        self._thread.start()

    def wake(self) -> None:
        """Make the next step come now."""
        self._wake.set()

    def stop(self, timeout: float | None = None) -> bool:
        """End after the step that is under way; returns whether it ended within ``timeout`` seconds."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            delay = self._once()
            if delay > 0 and not self._stopping:
                self._wake.wait(delay)

    def _once(self) -> float:
        begin = self._clock()
        if self.health.due is None or begin < self.health.due:  # woken early: from now on it counts as late
            self.health = attrs.evolve(self.health, due=begin)
        try:
            delay = self._loop.step(begin)
        except Cancelled:
            return 0.05
        except AgentError as error:
            self._note(error)
            self._tell(error)
            pause = self._backoff.failed()
            return pause if error.again_in is None else max(error.again_in, _LEAST_PAUSE)
        except Exception as error:  # a bug must not silence the loop for good; it is logged whole
            self._note(error)
            log.exception("%s failed", self._loop.name)
            return self._backoff.failed()
        self._backoff.worked()
        self._succeeded(delay)
        return delay

    def _tell(self, error: AgentError) -> None:
        """Log an error when it is new, and now and then while it stays the same."""
        now, seen = self._clock(), (error.code, self.health.failing_since)
        if error.told or (seen == self._told and now < self._told_at + TELL_EVERY):
            level = logging.DEBUG
        else:
            level = logging.WARNING if isinstance(error, Retryable) else logging.ERROR
            self._told, self._told_at = seen, now
        log.log(level, "%s: %s", self._loop.name, error)

    def _succeeded(self, delay: float) -> None:
        now, before = self._clock(), self.health
        if before.failing_since is not None:
            log.info("%s works again after %.0f s", self._loop.name, now - before.failing_since)
        self.health = LoopHealth(self._loop.name, now, errors=before.errors, due=now + delay)

    def _note(self, error: Exception) -> None:
        since = self.health.failing_since
        self.health = attrs.evolve(
            self.health,
            last_error=str(error) or type(error).__name__,
            errors=self.health.errors + 1,
            failing_since=self._clock() if since is None else since,
        )
