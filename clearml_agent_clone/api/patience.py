"""Calling again: what failed for a moment, a few times, with pauses in between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.errors import ServerBusy, ServerUnreachable

_Result = TypeVar("_Result")


class Patience:
    """Repeats attempts that failed.

    Args:
        wait: waits so many seconds, or until there is reason to stop; tells whether there is.
        rng: source of jitter.
    """

    def __init__(self, wait: Callable[[float], bool], rng: random.Random) -> None:
        self._wait = wait
        self._rng = rng

    def persist(self, attempt: Callable[[], _Result], retry: Retry, *, repeats: bool) -> _Result:
        """Call ``attempt`` until it succeeds, fails for good, or ``retry`` is used up.

        Args:
            attempt: does it once.
            retry: how often and how long.
            repeats: False for what must not be done twice; then only those failures are repeated that happened before
                the server can have acted.

        Raises:
            The error of the last attempt. When there is reason to stop, no further attempt is made.
        """
        begin = time.monotonic()
        waited = 0.0
        for repeat in range(retry.attempts - 1):
            try:
                return attempt()
            except (ServerUnreachable, ServerBusy) as error:  # noqa: PERF203 - a network call costs more than a try
                if not error.passing or (error.may_have_acted and not repeats):
                    raise
                asked = error.retry_after if isinstance(error, ServerBusy) else None
                pause = retry.pause(repeat, self._rng, asked)
                # What was waited is counted apart, so that a test whose waits take no time meets the same end.
                if max(time.monotonic() - begin, waited) + pause > retry.total or self._wait(pause):
                    raise
                waited += pause
        return attempt()
