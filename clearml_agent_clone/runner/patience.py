"""How long a runner goes on talking to a server that does not answer."""

from __future__ import annotations

import threading
from collections.abc import Callable

LAST_WORDS = 60.0
"""Seconds that a stopped agent tries to deliver console and status; the folder keeps what is left for its next start"""
LAST_WORDS_NOW = 5.0


class Patience:
    """For ever, as long as nobody wants the task or the agent to end.

    A stop gives up the calls that are under way (their pauses, to be exact), so that nothing keeps the task from being
    ended. Its last words may again take for ever when only the task was stopped, and a limited time when the agent
    itself is to go.

    Args:
        given_up: while set, no call is repeated; the same event as the session's ``stop``.
    """

    def __init__(self, given_up: threading.Event) -> None:
        self.given_up = given_up
        self._lock = threading.Lock()
        self._last_words = False
        self._asked: float | None = None
        self._timer: threading.Timer | None = None
        self._at_end: list[Callable[[], object]] = []

    def stop_asked(self, *, with_agent: bool, now: bool) -> None:
        """Somebody asked for the end of the task, or of the agent too."""
        with self._lock:
            if with_agent:
                self._asked = LAST_WORDS_NOW if now else min(LAST_WORDS, self._asked or LAST_WORDS)
            if self._last_words:
                self._limit()
            else:
                self.given_up.set()

    def begin_last_words(self) -> None:
        """The task's processes are gone; from here on all that counts is that the server hears of it."""
        with self._lock:
            self._last_words = True
            self.given_up.clear()
            self._limit()

    def at_its_end(self, call: Callable[[], object]) -> None:
        """What to call when there is no patience for last words any more."""
        self._at_end.append(call)

    def end(self) -> None:
        """All is said."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()

    def _limit(self) -> None:
        if self._asked is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(self._asked, self._give_up)
        self._timer.daemon = True
        self._timer.start()

    def _give_up(self) -> None:
        self.given_up.set()
        for call in self._at_end:
            call()
