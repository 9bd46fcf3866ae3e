"""What all callers of one session know together about a server that is away.

One of them finds out, and from then on one asks at a time, with pauses that grow to ten seconds, while the others are
told without a request. The first answer ends it for all. The same door keeps a pause that the server asked for (429),
and the slower pace at which refused credentials are tried.

An endpoint that fails while others work has a trouble of its own: that is left to its caller's patience.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

import attrs

from clearml_agent_clone.api.errors import CredentialsRefused, ServerBusy, ServerUnreachable

log = logging.getLogger(__name__)

Failure = ServerUnreachable | ServerBusy | CredentialsRefused
"""The errors that concern everybody who talks to this server."""

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
REFUSED_PAUSE = 30.0
"""Seconds between tries with credentials that were refused; a server may lock out who tries more often."""

_PROBE_PATIENCE = 10.0
_LOOK_AGAIN = 1.0
_TELL_AFTER = (2.0, 60.0, 300.0)
_TELL_EVERY = 600.0


@attrs.define
class _Away:
    error: Failure
    since: float
    since_wall: float
    tries: int = 0
    told: int = 0
    tell_at: float = 0.0


class Ticket:
    """Held by the caller whose failed try set the present pause: when it is over, it need not ask again."""


class Outage:
    """Whether requests make sense now; safe for several threads. It sends nothing and never waits.

    Args:
        place: the server's URL, for the log.
        rng: source of jitter.
        monotonic: seconds.
        clock: Unix seconds, for the log.
    """

    def __init__(
        self,
        place: str,
        rng: random.Random,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._place = place
        self._rng = rng
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()
        self._away: _Away | None = None
        self._due = self._limited_until = float("-inf")
        self._worked_at = float("-inf")
        self._failed_at: dict[str, float] = {}
        self._ticket: Ticket | None = None
        self._asking = False
        self.ended = 0
        """How many outages are over: whoever waits for the end of one looks whether it has changed."""

    @property
    def is_away(self) -> bool:
        """Whether the server is known not to answer, or not to accept us."""
        return self._away is not None

    def now(self) -> float:
        """Seconds of the clock that counts here."""
        return self._monotonic()

    def enter(self, ticket: Ticket | None = None) -> float:
        """Ask for leave to send. 0: go ahead; else seconds after which to ask again.

        While the server is away the leave is given to one caller at a time, who has to report by ``worked``, ``failed``
        or ``gave_up``. The others look again every second what has come of it; a caller that hangs keeps them for ten
        seconds.
        """
        with self._lock:
            now = self._monotonic()
            if self._away is None:
                return 0.0
            if self._due > now and (ticket is None or ticket is not self._ticket):
                return min(self._due - now, _LOOK_AGAIN) if self._asking else self._due - now
            self._ticket = None
            self._asking = True
            self._due = now + _PROBE_PATIENCE
            return 0.0

    def refusal(self, again_in: float) -> Failure | None:
        """The error for a caller whom ``enter`` did not let in; None when the outage has just ended."""
        away = self._away
        if away is None:
            return None  # it has ended this very moment
        error = _unsent(away.error)
        error.again_in, error.told = again_in, True
        return error

    def worked(self, endpoint: str) -> None:
        """The server has answered a call to ``endpoint``, be it with a refusal."""
        with self._lock:
            now = self._worked_at = self._monotonic()
            self._failed_at.pop(endpoint, None)
            away = self._away
            if away is None or now < self._limited_until:
                return
            self._away = self._ticket = None
            self._asking = False
            self.ended += 1
        if away.told:
            log.info("server %s answers again after %.0f s, %d tries", self._place, now - away.since, away.tries)

    def gave_up(self) -> None:
        """The call that had leave was given up by ourselves: the next one may try."""
        with self._lock:
            self._asking = False
            self._due = max(self._monotonic(), self._limited_until)

    def failed(self, error: Failure, endpoint: str, begun: float, pause: float | None = None) -> Ticket | None:
        """A call to ``endpoint`` brought ``error``. Sets the error's ``again_in`` when it concerns everybody.

        Args:
            error: what it was.
            endpoint: as called.
            begun: monotonic seconds at which it was sent.
            pause: seconds after which its caller will try again by itself; None when it will not.

        Returns:
            What lets that caller in after its pause, unless another has tried meanwhile.
        """
        with self._lock:
            now = self._monotonic()
            before, self._failed_at[endpoint] = self._failed_at.get(endpoint), now
            own_trouble = self._worked_at > begun or (before is not None and self._worked_at > before)
            limited = _limits(error)
            if not limited and (own_trouble or not _concerns_all(error)):
                return None
            away = self._away = self._away or _Away(error, begun, self._clock() - (now - begun))
            self._asking = False
            away.error = error
            away.tries += 1
            wait = self._pause(away) if pause is None else pause
            if limited:
                self._limited_until = max(self._limited_until, now + wait)
            self._due = max(now + wait, self._limited_until)
            wait = self._due - now
            ticket = self._ticket = None if pause is None else Ticket()
            error.again_in, error.told = wait, True
        self._tell(away, now, wait)
        return ticket

    def _pause(self, away: _Away) -> float:
        if isinstance(away.error, CredentialsRefused):
            return REFUSED_PAUSE * self._rng.uniform(1.0, 1.5)
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(away.tries - 1, 30))
        pause = bound * self._rng.uniform(0.5, 1.0)
        asked = away.error.retry_after if isinstance(away.error, ServerBusy) else None
        return pause if asked is None else asked + min(pause, 1.0)

    def _tell(self, away: _Away, now: float, wait: float) -> None:
        """One line when it is more than a moment, then more and more seldom."""
        refused = isinstance(away.error, CredentialsRefused)
        if not away.told and not refused and now - away.since < _TELL_AFTER[0]:
            return
        if now < away.tell_at:
            return
        away.told += 1
        away.tell_at = now + (_TELL_AFTER[away.told] if away.told < len(_TELL_AFTER) else _TELL_EVERY)
        since = time.strftime("%H:%M:%S", time.localtime(away.since_wall))
        log.log(
            logging.ERROR if refused else logging.WARNING,
            "server %s %s since %s, %d tries; next in %.0f s: %s",
            self._place,
            "does not let us in" if refused else "cannot be used",
            since,
            away.tries,
            wait,
            away.error,
        )


def _concerns_all(error: Failure) -> bool:
    """Whether other calls would meet the same. 500 and 501 are about one call: the server is there."""
    if isinstance(error, ServerBusy):
        return error.passing
    return not isinstance(error, CredentialsRefused) or error.code == CredentialsRefused.default_code


def _limits(error: Failure) -> bool:
    """Whether the server wants everybody to make a pause, although it can answer."""
    return isinstance(error, ServerBusy) and (error.status == 429 or error.retry_after is not None)


def _unsent(error: Failure) -> Failure:
    """``error`` for a call that was not even sent."""
    if isinstance(error, ServerBusy):
        busy = ServerBusy(error.message, status=error.status, remedy=error.remedy)
        busy.may_have_acted = False
        return busy
    if isinstance(error, ServerUnreachable):
        return ServerUnreachable(error.message, remedy=error.remedy, code=error.code, passing=error.passing)
    return CredentialsRefused(error.message, remedy=error.remedy, code=error.code)
