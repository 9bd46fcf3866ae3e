"""What the tests of the logs room share: a server that only listens, a clock that is told the time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.errors import InvalidRequest, ServerUnreachable
from clearml_agent_clone.logs import Redactor, Shipper, Spool


def away() -> None:
    raise ServerUnreachable("the server is away")


def refused() -> None:
    raise InvalidRequest(
        "events.add_batch was refused", endpoint="events.add_batch", status=400, subcode=131, server_message="published"
    )


def nothing() -> None:
    pass


@attrs.define
class Clock:
    """Monotonic seconds and, a distance away that somebody may change, Unix seconds."""

    now: float = 100.0
    skew: float = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def unix(self) -> float:
        return self.skew + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@attrs.define
class FakeServer:
    """Takes events as ``events.add_batch`` does.

    ``before`` and ``after`` are called around the taking and may raise, as a request or its answer gets lost. ``now``
    is what is being sent.
    """

    requests: list[list[dict[str, Any]]] = attrs.Factory(list)
    sizes: list[int] = attrs.Factory(list)
    now: Sequence[bytes] = ()
    attempts: int = 0
    answer: dict[str, Any] | None = None
    before: Callable[[], None] = lambda: None
    after: Callable[[], None] = lambda: None

    def send(self, lines: Sequence[bytes]) -> dict[str, Any]:
        self.attempts += 1
        self.now = lines
        self.before()
        self.requests.append([json.loads(line) for line in lines])
        self.sizes.append(len(b"\n".join(lines)))
        self.after()
        return self.answer or {"added": len(lines), "errors": 0, "errors_info": {}}

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.requests for event in request]

    @property
    def text(self) -> str:
        return "".join(event["msg"] for event in self.events)

    def has(self, stamp: int) -> bool:
        return any(event["timestamp"] == stamp for event in self.events)


@attrs.define
class Bench:
    """A spool, a server, and shippers between them."""

    folder: Path
    spool: Spool
    server: FakeServer = attrs.Factory(FakeServer)
    clock: Clock = attrs.Factory(Clock)

    def step(self, shipper: Shipper) -> float:
        """One step, a second after the last."""
        self.clock.now += 1
        return shipper.step(self.clock.now)

    def shipper(self, **options: Any) -> Shipper:
        options.setdefault("redactor", Redactor())
        return Shipper(
            self.spool,
            self.server.send,
            "task-1",
            "host:0",
            self.folder,
            clock=self.clock.unix,
            monotonic=self.clock.monotonic,
            draw=lambda: 1.0,
            **{"sleep": self.clock.sleep, **options},
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    spool = Spool.create(tmp_path)
    yield Bench(tmp_path, spool)
    spool.close()
