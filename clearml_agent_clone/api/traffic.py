"""How the exchanges with the server fare: counted for metrics, and the last of each kind for ``status``."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

import attrs

from clearml_agent_clone.api.errors import NotClearML, ServerBusy, ServerUnreachable
from clearml_agent_clone.errors import AgentError, Cancelled


@attrs.frozen
class Reach:
    """Whether the server answers. Times are Unix seconds, None when it has not happened yet."""

    answered_at: float | None = None
    failed_at: float | None = None
    error: str = ""


class Traffic:
    """Sees every request; may be asked from any thread.

    An answer that refuses a request is an answer: the server can be reached. 429 and 5xx are none.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.reach = Reach()
        self._clock = clock
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """Requests so far by endpoint and result: ``ok``, or the ``code`` of the error."""
        with self._lock:
            return dict(self._counts)

    @contextlib.contextmanager
    def observe(self, endpoint: str) -> Iterator[None]:
        """Around one request to ``endpoint``."""
        try:
            yield
        except Cancelled:  # we gave it up ourselves, which says nothing about the server
            self._count(endpoint, "cancelled")
            raise
        except AgentError as error:
            self._count(endpoint, error.code)
            if isinstance(error, ServerUnreachable | ServerBusy | NotClearML):
                self.reach = attrs.evolve(self.reach, failed_at=self._clock(), error=str(error))
            else:
                self._answered()
            raise
        self._count(endpoint, "ok")
        self._answered()

    def _answered(self) -> None:
        self.reach = attrs.evolve(self.reach, answered_at=self._clock(), error="")

    def _count(self, endpoint: str, result: str) -> None:
        with self._lock:
            self._counts[endpoint, result] += 1
