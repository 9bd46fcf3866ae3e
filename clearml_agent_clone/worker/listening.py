"""The queues that a worker listens to, while they come and go on the server."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from typing import Protocol

from clearml_agent_clone.api.errors import NotFound
from clearml_agent_clone.api.types import Queue
from clearml_agent_clone.errors import UserError

log = logging.getLogger(__name__)

LOOK_AGAIN = 30.0
"""Seconds between two looks whether a queue that was deleted exists again."""


class QueueCalls(Protocol):
    """The calls that find queues."""

    def all(self, ids: Collection[str] | None = None) -> list[Queue]: ...
    def resolve(self, name_or_id: str) -> Queue: ...


class Listening:
    """Knows which of the queues exist. One that was deleted is looked for again, by its name.

    Args:
        calls: the server.
        queues: by priority, as they were found at the start.
    """

    def __init__(self, calls: QueueCalls, queues: Sequence[Queue]) -> None:
        self._calls = calls
        self._queues = list(queues)
        self._gone: set[int] = set()
        self._next_look = 0.0
        self.ids: list[str] = [queue.id for queue in queues]
        """Ids of those that exist, by priority. The same list for ever, so that others may keep it."""

    def missing(self) -> None:
        """The server says that a queue does not exist: find out which, and go on without it."""
        known = {queue.id for queue in self._calls.all([queue.id for queue in self._queues])}
        for place, queue in enumerate(self._queues):
            if queue.id not in known and place not in self._gone:
                log.warning(
                    "queue %s does not exist any more; tasks are taken from the others, and from it when it is there again",
                    _shown(queue),
                )
                self._gone.add(place)
        self._update()

    def look(self, now: float) -> None:
        """Look for those that are gone, when it is time to. ``now`` is monotonic seconds."""
        if not self._gone or now < self._next_look:
            return
        self._next_look = now + LOOK_AGAIN
        for place in sorted(self._gone):
            queue = self._queues[place]
            try:
                found = self._calls.resolve(queue.name or queue.id)
            except NotFound:
                continue
            except UserError as error:  # several of this name: nobody can say which was meant
                log.warning("queue %s: %s", _shown(queue), error)
                continue
            log.info("queue %s exists again", _shown(found))
            self._queues[place] = found
            self._gone.discard(place)
        self._update()

    def pause(self, now: float) -> float:
        """Seconds until there may be something to poll; 0 while there is."""
        return 0.0 if self.ids else max(0.1, self._next_look - now)

    def _update(self) -> None:
        self.ids[:] = dict.fromkeys(queue.id for place, queue in enumerate(self._queues) if place not in self._gone)


def _shown(queue: Queue) -> str:
    return f'"{queue.name}" ({queue.id})' if queue.name else queue.id
