from __future__ import annotations

from typing import Any

from clearml_agent_clone.monitoring import MachineStats
from clearml_agent_clone.runner.heartbeat import Doing, Heartbeat


class Reports:
    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def report(self, worker: str, **fields: Any) -> None:
        self.sent.append({"worker": worker, **fields})


def test_reports_at_once_then_with_statistics_each_period_and_on_change_without() -> None:
    reports, doing, taken = Reports(), [Doing()], []

    def take() -> MachineStats:
        taken.append(1)
        return MachineStats()

    beat = Heartbeat(reports, "host:0", queue_ids=["q"], doing=lambda: doing[0], take_stats=take, interval=30)
    assert beat.step(100.0) == 3.0
    assert beat.step(103.0) == 30.0
    doing[0] = Doing("t1", "q")
    assert beat.step(110.0) == 23.0  # woken by a new task: the period goes on
    assert beat.step(133.0) == 30.0
    assert [sent["task"] for sent in reports.sent] == [None, None, "t1", "t1"]
    assert [sent["stats"] is not None for sent in reports.sent] == [False, True, False, True]
    assert reports.sent[0]["queues"] == ["q"]
    assert len(taken) == 2
