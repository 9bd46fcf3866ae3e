from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from clearml_agent_clone.api.types import Entry
from clearml_agent_clone.errors import Retryable
from clearml_agent_clone.worker.claims import ClaimRecord, Claims, unix_time


class Queues:
    """Queues that remember claims, as our server does."""

    def __init__(self, waits: bool, **queues: list[str]) -> None:
        self.waits = waits
        self.remembers_claims = waits
        self.queues = queues
        self.claimed: dict[str, Entry] = {}
        self.lose_reply = False
        self.asked: list[list[str]] = []

    def next(self, queue_ids: Sequence[str], *, wait: float = 0.0, claim: str = "") -> Entry | None:
        self.asked.append(list(queue_ids))
        if claim in self.claimed:
            return self.claimed[claim]
        for queue in queue_ids:
            if self.queues[queue]:
                entry = self.claimed[claim] = Entry(self.queues[queue].pop(0), queue)
                if self.lose_reply:
                    self.lose_reply = False
                    raise Retryable("connection lost")
                return entry
        return None

    def put_back_first(self, task_id: str, queue_id: str) -> None:
        self.queues[queue_id].insert(0, task_id)


def make(queues: Queues, tmp_path: Path, *, free: int = 1, fair: bool = False) -> tuple[Claims, list[str]]:
    taken: list[str] = []
    record = ClaimRecord(tmp_path / "claim.json")
    claims = Claims(
        queues,
        list(queues.queues),
        record,
        free=lambda: free,
        accept=lambda entry: taken.append(entry.task),
        interval=5.0,
        fair=fair,
    )
    return claims, taken


def test_urgent_queues_come_first(tmp_path: Path) -> None:
    claims, taken = make(Queues(waits=True, high=["a", "b"], low=["c"]), tmp_path)
    for now in range(4):
        assert claims.step(now) == 0.0
    assert taken == ["a", "b", "c"]


def test_fairness_goes_round(tmp_path: Path) -> None:
    claims, taken = make(Queues(waits=True, one=["a", "b"], two=["c", "d"]), tmp_path, fair=True)
    for now in range(4):
        claims.step(now)
    assert taken == ["a", "c", "b", "d"]


def test_a_server_that_cannot_wait_is_polled(tmp_path: Path) -> None:
    claims, _ = make(Queues(waits=False, q=[]), tmp_path)
    assert claims.step(0) == 5.0


def test_without_a_slot_nobody_is_asked(tmp_path: Path) -> None:
    queues = Queues(waits=True, q=["a"])
    claims, taken = make(queues, tmp_path, free=0)
    assert claims.step(0) > 60
    assert queues.asked == []
    assert taken == []


def test_a_lost_reply_loses_no_task(tmp_path: Path) -> None:
    queues = Queues(waits=True, q=["a"])
    queues.lose_reply = True
    claims, taken = make(queues, tmp_path)
    with pytest.raises(Retryable):
        claims.step(0)
    claims.step(1)
    assert taken == ["a"]


def test_a_daemon_that_died_before_writing_the_task_down_gets_it_again(tmp_path: Path) -> None:
    queues = Queues(waits=True, q=["a", "b"])
    dead, _ = make(queues, tmp_path)
    dead._accept = lambda entry: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        dead.step(0)
    claims, taken = make(queues, tmp_path)
    claims.step(1)
    claims.step(2)
    assert taken == ["a", "b"]


@pytest.mark.parametrize("modern", [True, False])
def test_a_task_that_cannot_be_written_down_is_not_lost(tmp_path: Path, modern: bool) -> None:
    queues = Queues(waits=modern, q=["a", "b"])
    claims, taken = make(queues, tmp_path)
    accept, full = claims._accept, [True]

    def accept_when_there_is_room(entry: Entry) -> None:
        if full[0]:
            raise Retryable("disk full")
        accept(entry)

    claims._accept = accept_when_there_is_room
    with pytest.raises(Retryable):
        claims.step(0)
    if not modern:
        assert queues.queues["q"] == ["a", "b"]
        queues.claimed.clear()
    full[0] = False
    claims.step(1)
    claims.step(2)
    assert taken == ["a", "b"]


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("1970-01-01T00:00:01+00:00", 1.0),
        ("1970-01-01T00:00:01.500000+00:00", 1.5),
        ("1970-01-01T00:00:01Z", 1.0),
        ("", None),
        ("yesterday", None),
    ],
)
def test_server_stamps_are_read(stamp: str, seconds: float | None) -> None:
    assert unix_time(stamp) == seconds
