"""Callers that wait for a task to arrive in a queue."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator


class Arrivals:
    """Wakes the waiters of a queue when a task is put into it. A waiter costs an event, not a thread."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.closing = False

    @contextlib.contextmanager
    def waiter(self, queues: Iterable[str]) -> Iterator[asyncio.Event]:
        """An event that is set as soon as something arrives in one of ``queues``. For the event loop only.

        Take it before looking into the queues: what arrives between the look and the wait then sets it.
        """
        self._loop = asyncio.get_running_loop()
        event = asyncio.Event()
        names = tuple(queues)
        for name in names:
            self._waiting.setdefault(name, set()).add(event)
        try:
            yield event
        finally:
            for name in names:
                waiting = self._waiting.get(name)
                if waiting is not None:
                    waiting.discard(event)
                    if not waiting:
                        del self._waiting[name]

    def announce(self, queue: str) -> None:
        """Something was put into ``queue`` and committed. From any thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._wake, queue)

    def close(self) -> None:
        """Let every waiter answer now; the server is about to stop. For the event loop only."""
        self.closing = True
        for waiting in self._waiting.values():
            for event in waiting:
                event.set()

    def _wake(self, queue: str) -> None:
        for event in self._waiting.get(queue, ()):
            event.set()
