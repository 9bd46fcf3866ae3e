"""Calls of the ``workers`` service."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Protocol

from clearml_agent_clone.api.access import Retry, Timeout
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.api.types import Worker


class Statistics(Protocol):
    """Samples of the machine; ``monitoring.MachineStats`` is one."""

    def to_wire(self) -> dict[str, Any]:
        """The fields of ``machine_stats``."""
        ...


class Workers:
    """Registration and reports of workers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def register(
        self,
        worker: str,
        queues: Sequence[str],
        *,
        tags: Sequence[str] | None = None,
        timeout: float | None = None,
        retry: Retry | None = None,
    ) -> None:
        """Make a worker known.

        Args:
            worker: its id.
            queues: ids of the queues that it listens to.
            tags: for grouping workers.
            timeout: seconds without a report after which the server forgets it; None leaves it to the server (600).
            retry: patience.
        """
        body: dict[str, Any] = {"worker": worker, "queues": list(queues)}
        if tags:
            body["tags"] = list(tags)
        if timeout is not None:
            body["timeout"] = int(timeout)
        self._session.call("workers.register", body, retry=retry)

    def unregister(
        self, worker: str, queues: Sequence[str] = (), *, retry: Retry | None = None, timeout: Timeout | None = None
    ) -> None:
        """Make the server forget a worker; one that it does not know is no error."""
        body = {"worker": worker, "queues": list(queues)}
        self._session.call("workers.unregister", body, retry=retry, timeout=timeout)

    def report(
        self,
        worker: str,
        *,
        task: str | None = None,
        queue: str | None = None,
        queues: Sequence[str] | None = None,
        stats: Statistics | None = None,
        tags: Sequence[str] | None = None,
        timestamp: float | None = None,
        retry: Retry | None = None,
    ) -> None:
        """Say that a worker lives and what it does.

        Args:
            worker: its id.
            task: id of the task that it runs; None tells the server that it runs none.
            queue: id of the queue that the task came from.
            queues: ids of the queues that it listens to; None leaves what the server knows.
            stats: samples of the machine; None sends none.
            tags: for grouping workers; None leaves what the server knows.
            timestamp: Unix seconds of the samples; by default now.
            retry: patience.
        """
        body: dict[str, Any] = {
            "worker": worker,
            # Whole seconds in milliseconds: the server files the samples by second.
            "timestamp": int(time.time() if timestamp is None else timestamp) * 1000,
            "machine_stats": None if stats is None else stats.to_wire(),
        }
        optional = {"task": task, "queue": queue, "queues": queues, "tags": tags}
        for name, value in optional.items():
            if value is not None:
                body[name] = value if isinstance(value, str) else list(value)
        self._session.call("workers.status_report", body, retry=retry)

    def all(self, *, last_seen: float = 0.0) -> list[Worker]:
        """The workers that the server knows; with ``last_seen`` only those seen in the last so many seconds."""
        data = self._session.call("workers.get_all", {"last_seen": int(last_seen)})
        records = data.get("workers")
        return (
            [Worker.from_wire(record) for record in records if isinstance(record, dict)]
            if isinstance(records, list)
            else []
        )
