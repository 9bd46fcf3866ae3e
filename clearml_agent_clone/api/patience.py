"""Calling again: what failed for a moment, a few times, with pauses in between."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

import attrs

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.errors import CredentialsRefused, ServerBusy, ServerUnreachable
from clearml_agent_clone.api.outage import REFUSED_PAUSE, Outage, Ticket
from clearml_agent_clone.errors import AgentError, Fatal, UserError

_Result = TypeVar("_Result")

_LOOK = 0.2


@attrs.frozen
class Attempt:
    """How one call is tried.

    Args:
        endpoint: what it calls.
        repeats: False for what must not be done twice; then only those failures are repeated that happened before the
            server can have acted.
        probe: called first where the server is known to be away: something short, before a call that the server holds.
    """

    endpoint: str
    repeats: bool = True
    probe: Callable[[], object] | None = None


class Patience:
    """Repeats attempts that failed.

    Args:
        outage: what is known of the server; hears how every attempt ends, and says when the next one makes sense.
        stop: when it is set, no pause is made any more.
        rng: source of jitter.
        wait: waits so many seconds, or until there is reason to stop, and tells whether there is. By default for
            ``stop``, and not longer than the server is away.
    """

    def __init__(
        self,
        outage: Outage,
        stop: threading.Event,
        rng: random.Random,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        self._outage = outage
        self._stop = stop
        self._rng = rng
        self._waits = wait

    def persist(self, send: Callable[[], _Result], retry: Retry, how: Attempt) -> _Result:
        """Call ``send`` until it succeeds, fails for good, or ``retry`` is used up.

        An attempt counts when it is made: while the server is known to be away, only time passes.

        Raises:
            The error of the last attempt, or of another caller's when the server is known to be away. When there is
            reason to stop, no further attempt is made.
        """
        begin = time.monotonic()
        waited = 0.0
        made = 0
        ticket: Ticket | None = None
        while True:
            pause = self._outage.enter(ticket)
            error: ServerUnreachable | ServerBusy | UserError | None
            error = self._outage.refusal(pause) if pause else None
            if error is None:
                if pause:
                    continue
                begun = self._outage.now()
                try:
                    return self._once(send, how)
                except (ServerUnreachable, ServerBusy, UserError) as caught:
                    made += 1
                    last = made >= retry.attempts or not _may_pass(caught, retry, how)
                    pause = 0.0 if last else self._pause(caught, retry, made)
                    ticket = self._note(caught, how, begun, None if last else pause)
                    if last:
                        raise
                    error = caught
            elif retry.attempts == 1 or not _may_pass(error, retry, how):
                raise error
            # What was waited is counted apart, so that a test whose waits take no time meets the same end.
            if max(time.monotonic() - begin, waited) + pause > retry.total or self._wait(pause):
                raise error
            waited += pause

    def _once(self, send: Callable[[], _Result], how: Attempt) -> _Result:
        """One attempt; an answer of any kind means that the server is there."""
        try:
            if how.probe is not None and self._outage.is_away:
                how.probe()
                self._outage.worked("")
            result = send()
        except Fatal:
            self._outage.worked(how.endpoint)
            raise
        except (ServerUnreachable, ServerBusy, UserError):
            raise
        except BaseException:  # given up, or a bug: it says nothing about the server, so the next caller may try
            self._outage.gave_up()
            raise
        self._outage.worked(how.endpoint)
        return result

    def _note(
        self, error: ServerUnreachable | ServerBusy | UserError, how: Attempt, begun: float, pause: float | None
    ) -> Ticket | None:
        if isinstance(error, ServerUnreachable | ServerBusy | CredentialsRefused):
            return self._outage.failed(error, how.endpoint, begun, pause)
        self._outage.gave_up()
        return None

    def _pause(self, error: AgentError, retry: Retry, made: int) -> float:
        if isinstance(error, UserError):
            return REFUSED_PAUSE * self._rng.uniform(1.0, 1.5)
        asked = error.retry_after if isinstance(error, ServerBusy) else None
        return retry.pause(made - 1, self._rng, asked)

    def _wait(self, seconds: float) -> bool:
        """Whether to stop, after ``seconds``, or earlier when the server is back."""
        if self._waits is not None:
            return self._waits(seconds)
        end, ended = time.monotonic() + seconds, self._outage.ended
        while (left := end - time.monotonic()) > 0:
            if self._stop.wait(min(left, _LOOK)):
                return True
            if self._outage.ended != ended:
                return False
        return False


def _may_pass(error: AgentError, retry: Retry, how: Attempt) -> bool:
    """Whether another attempt makes sense."""
    if isinstance(error, ServerUnreachable | ServerBusy):
        return (error.passing or retry.stubborn) and (how.repeats or not error.may_have_acted)
    return retry.stubborn
