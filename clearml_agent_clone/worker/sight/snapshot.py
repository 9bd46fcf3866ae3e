"""What a daemon knows about itself at one moment."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.api.session import Session
from clearml_agent_clone.util.loops import LoopHealth

RED_AFTER = 120.0
"""Seconds beyond its own interval after which a loop that has not worked is unhealthy. Long enough for a server to be
restarted and for a held poll to come back, short enough for a health check to be of use."""

FORMAT = 1


class AgentState(enum.Enum):
    """What an agent is doing."""

    WORKING = "working"
    IDLE = "idle"
    DRAINING = "draining"
    STOPPING = "stopping"
    NOT_RUNNING = "not running"


@attrs.frozen
class QueueName:
    """A queue that is listened to."""

    id: str
    name: str


@attrs.frozen
class LoopView:
    """A loop as others see it. ``late_seconds`` counts from the time at which a step that works was due."""

    name: str
    seconds_since_success: float | None = None
    late_seconds: float = 0.0
    errors: int = 0
    last_error: str = ""

    @classmethod
    def of(cls, health: LoopHealth, now: float) -> LoopView:
        """``now``: seconds of the loops' monotonic clock."""
        age = None if health.last_success is None else round(max(0.0, now - health.last_success), 3)
        return cls(health.name, age, round(health.late(now), 3), health.errors, health.last_error)

    @property
    def healthy(self) -> bool:
        return self.late_seconds <= RED_AFTER


@attrs.frozen
class ServerView:
    """The server as the daemon last met it; times are Unix seconds."""

    address: str
    last_success_at: float | None = None
    last_error: str = ""
    last_error_at: float | None = None

    @classmethod
    def of(cls, session: Session) -> ServerView:
        reach = session.traffic.reach
        return cls(session.access.url, reach.answered_at, reach.error, reach.failed_at)

    @property
    def reachable(self) -> bool | None:
        """Whether the last exchange brought an answer; None before the first."""
        if self.last_success_at is None and self.last_error_at is None:
            return None
        return not self.last_error


@attrs.frozen
class Finished:
    """The tasks that this daemon has seen to their end.

    Attributes:
        outcomes: how many, by cause of the end.
        lost_bytes: bytes of their consoles that the server did not take.
        start_seconds: of the task that was started last, from its claim to the start of its process.
    """

    outcomes: Mapping[str, int] = attrs.Factory(dict)
    lost_bytes: int = 0
    start_seconds: float | None = None


@attrs.frozen
class DaemonSnapshot:
    """All that a daemon tells. ``capacity`` is None without limit; ``started_at`` is Unix seconds.

    ``requests`` counts by endpoint and result.
    """

    worker_id: str
    pid: int
    version: str
    started_at: float
    state: AgentState
    queues: tuple[QueueName, ...]
    capacity: int | None
    running: int
    loops: tuple[LoopView, ...]
    server: ServerView
    finished: Finished = attrs.Factory(Finished)
    requests: Mapping[tuple[str, str], int] = attrs.Factory(dict)

    @property
    def free(self) -> int | None:
        """How many more tasks may run; None without limit."""
        if self.state in {AgentState.DRAINING, AgentState.STOPPING}:
            return 0
        return None if self.capacity is None else max(0, self.capacity - self.running)

    @property
    def unhealthy(self) -> tuple[LoopView, ...]:
        """The loops that have not worked for too long."""
        return tuple(loop for loop in self.loops if not loop.healthy)

    def safe(self, redact: Callable[[str], str]) -> DaemonSnapshot:
        """The same with every text of foreign origin passed through ``redact``."""
        loops = tuple(attrs.evolve(loop, last_error=redact(loop.last_error)) for loop in self.loops)
        return attrs.evolve(
            self, loops=loops, server=attrs.evolve(self.server, last_error=redact(self.server.last_error))
        )

    def to_record(self) -> dict[str, Any]:
        """For the socket."""
        record = attrs.asdict(self)
        record["state"] = self.state.value
        record["requests"] = [[endpoint, result, count] for (endpoint, result), count in self.requests.items()]
        return {"format": FORMAT, **record}

    @classmethod
    def from_record(cls, data: object) -> DaemonSnapshot | None:
        """What ``to_record`` made, None when ``data`` is something else (another version's answer)."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            return None
        try:
            return cls(
                worker_id=str(data["worker_id"]),
                pid=int(data["pid"]),
                version=str(data["version"]),
                started_at=float(data["started_at"]),
                state=AgentState(data["state"]),
                queues=tuple(QueueName(**queue) for queue in data["queues"]),
                capacity=data["capacity"],
                running=int(data["running"]),
                loops=tuple(LoopView(**loop) for loop in data["loops"]),
                server=ServerView(**data["server"]),
                finished=Finished(**data["finished"]),
                requests=_counts(data["requests"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


def _counts(rows: Iterable[tuple[str, str, int]]) -> Mapping[tuple[str, str], int]:
    return {(endpoint, result): count for endpoint, result, count in rows}
