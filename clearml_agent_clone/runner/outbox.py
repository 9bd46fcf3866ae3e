"""Calls to the server that a task does not have to wait for, made in order by one thread."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable

from clearml_agent_clone.errors import AgentError, Retryable
from clearml_agent_clone.util.loops import Backoff

log = logging.getLogger(__name__)
_IDLE = 60.0
_TRIES = 5


class Outbox:
    """A loop that makes calls which may come late but not out of order, such as writing installed packages back.

    A call that the server could not take now stays first in line. One that fails for good is logged and dropped, and
    so is one that fails again and again while the server answers others: none of them decides over the task.
    """

    name = "outbox"

    def __init__(self) -> None:
        self._calls: collections.deque[tuple[str, Callable[[], object]]] = collections.deque()
        self._lock = threading.Lock()
        self._tries = 0
        self.on_new: Callable[[], None] = lambda: None

    def put(self, what: str, call: Callable[[], object]) -> None:
        """Add a call; ``what`` names it in the log. It should try once, as it is repeated here."""
        self._calls.append((what, call))
        self.on_new()

    def step(self, now: float) -> float:
        """Make all calls that wait."""
        del now
        with self._lock:
            while self._calls:
                what, call = self._calls[0]
                try:
                    call()
                except AgentError as error:
                    if self._comes_again(error):
                        raise
                    log.warning("%s: %s", what, error)
                self._calls.popleft()
                self._tries = 0
        return _IDLE

    def drain(self, wait: Callable[[float], object] = time.sleep, *, give_up: Callable[[], bool] = bool) -> None:
        """Make what is left before the end, however long the server is away.

        Args:
            wait: waits so many seconds, or until there is reason to stop.
            give_up: whether there is; what is left then is dropped with a warning.
        """
        backoff = Backoff()
        while True:
            try:
                self.step(0.0)
            except AgentError as error:  # noqa: PERF203 - it waits anyway
                if give_up():
                    log.warning("%d calls were not made: %s", len(self._calls), error)
                    return
                pause = backoff.failed()
                wait(pause if error.again_in is None else max(error.again_in, 0.05))
            else:
                return

    def _comes_again(self, error: AgentError) -> bool:
        """Whether the call is worth another try. While the server is away for all, tries do not count."""
        if error.told:
            return True
        self._tries += 1
        return isinstance(error, Retryable) and self._tries < _TRIES
