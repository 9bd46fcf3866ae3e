"""Calls to the server that a task does not have to wait for, made in order by one thread."""

from __future__ import annotations

import collections
import logging
import threading
from collections.abc import Callable

from clearml_agent_clone.errors import AgentError, Retryable

log = logging.getLogger(__name__)
_IDLE = 60.0


class Outbox:
    """A loop that makes calls which may come late but not out of order, such as writing installed packages back.

    A call that fails for good is logged and dropped: none of them decides over the task. A call that the server could
    not take now stays first in line.
    """

    name = "outbox"

    def __init__(self) -> None:
        self._calls: collections.deque[tuple[str, Callable[[], object]]] = collections.deque()
        self._lock = threading.Lock()
        self.on_new: Callable[[], None] = lambda: None

    def put(self, what: str, call: Callable[[], object]) -> None:
        """Add a call; ``what`` names it in the log."""
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
                except Retryable:
                    raise
                except AgentError as error:
                    log.warning("%s: %s", what, error)
                self._calls.popleft()
        return _IDLE

    def drain(self) -> None:
        """Make what is left before the end; what the server will not take now is dropped with a warning."""
        try:
            self.step(0.0)
        except Retryable as error:
            log.warning("%d calls were not made: %s", len(self._calls), error)
