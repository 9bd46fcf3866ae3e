from __future__ import annotations

import json
import math
import re
from pathlib import Path

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from clearml_agent_clone.util.loops import LoopHealth
from clearml_agent_clone.worker.sight.metrics import render
from clearml_agent_clone.worker.sight.runs import RunView
from clearml_agent_clone.worker.sight.snapshot import (
    RED_AFTER,
    AgentState,
    DaemonSnapshot,
    LoopView,
    ServerView,
)
from tests.helpers.sight_tools import SNAPSHOT, healthy, make_run


def values(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Samples by name and the values of their labels, as Prometheus' own parser reads them."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation
        assert family.type in {"gauge", "counter"}
        for sample in family.samples:
            key = tuple(sample.labels.values())
            assert key not in found.setdefault(sample.name, {})
            found[sample.name][key] = sample.value
    return found


def test_a_real_parser_reads_every_metric(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "t1", written=b"x" * 100, delivered=70, lost=5)
    run = RunView.of(folder)
    assert run is not None
    seen = values(render(SNAPSHOT, [run], tmp_path))
    assert seen["clearml_agent_info"] == {("host:0", "1.2.3", "4711"): 1}
    assert seen["clearml_agent_state"] == {("working",): 1, ("idle",): 0, ("draining",): 0, ("stopping",): 0}
    assert seen["clearml_agent_loop_late_seconds"] == {("claim",): 0, ("heartbeat",): 170}
    assert seen["clearml_agent_loop_healthy"] == {("claim",): 1, ("heartbeat",): 0}
    assert seen["clearml_agent_loop_errors_total"] == {("claim",): 0, ("heartbeat",): 7}
    assert seen["clearml_agent_loop_last_success_age_seconds"] == {("claim",): 1.5, ("heartbeat",): 200}
    assert (seen["clearml_agent_slots"], seen["clearml_agent_slots_free"]) == ({(): 2}, {(): 1})
    assert seen["clearml_agent_tasks_running"] == {(): 1}
    assert seen["clearml_agent_tasks_finished_total"] == {("completed",): 3, ("failed",): 1}
    assert seen["clearml_agent_console_backlog_bytes"] == {(): 30}
    assert seen["clearml_agent_console_lost_bytes_total"] == {(): 17}
    assert seen["clearml_agent_task_start_seconds"] == {(): 0.75}
    assert seen["clearml_agent_server_reachable"] == {(): 0}
    assert seen["clearml_agent_api_requests_total"] == {
        ("queues.get_next_task", "ok"): 9,
        ("workers.status_report", "connection-refused"): 2,
    }
    assert seen["clearml_agent_state_disk_free_bytes"][()] > 0
    assert seen["process_resident_memory_bytes"][()] > 1e6
    assert seen["process_open_fds"][()] > 2
    assert seen["process_cpu_seconds_total"][()] > 0


def test_labels_are_escaped(tmp_path: Path) -> None:
    wild = 'a "b" \\ c\nd{},='
    seen = values(render(healthy(worker_id=wild), [], tmp_path))
    assert next(iter(seen["clearml_agent_info"])) == (wild, "1.2.3", "4711")


def test_what_is_not_known_is_left_out_and_no_limit_is_infinity(tmp_path: Path) -> None:
    snapshot = healthy(
        capacity=None, server=ServerView("x"), finished=attrs.evolve(SNAPSHOT.finished, start_seconds=None)
    )
    seen = values(render(snapshot, [], tmp_path / "gone"))
    assert seen["clearml_agent_slots"][()] == math.inf == seen["clearml_agent_slots_free"][()]
    assert "clearml_agent_server_reachable" not in seen
    assert "clearml_agent_task_start_seconds" not in seen
    assert "clearml_agent_state_disk_free_bytes" not in seen


def test_a_snapshot_travels_as_json() -> None:
    assert DaemonSnapshot.from_record(json.loads(json.dumps(SNAPSHOT.to_record()))) == SNAPSHOT


@pytest.mark.parametrize("data", [None, [], {}, {"format": 2}, {"format": 1, "worker_id": "x"}])
def test_what_is_no_snapshot_is_none(data: object) -> None:
    assert DaemonSnapshot.from_record(data) is None


def test_a_loop_is_red_when_it_is_late_by_more_than_its_patience() -> None:
    health = LoopHealth("claim", last_success=100.0, due=105.0)
    assert LoopView.of(health, 105.0 + RED_AFTER).healthy
    view = LoopView.of(health, 105.5 + RED_AFTER)
    assert not view.healthy
    assert (view.seconds_since_success, view.late_seconds) == (125.5, 120.5)


def test_an_agent_that_leaves_has_no_free_slot() -> None:
    assert healthy().free == 1
    assert healthy(running=5).free == 0
    assert healthy(state=AgentState.DRAINING).free == 0
    assert healthy(capacity=None, state=AgentState.STOPPING).free == 0


def test_foreign_texts_are_redacted() -> None:
    safe = SNAPSHOT.safe(lambda text: text.upper())
    assert [loop.last_error for loop in safe.loops] == ["", 'NO "WAY"\\\nBACK']
    assert safe.server.last_error == "REFUSED"


def test_the_documentation_lists_every_metric_and_no_other(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "operation.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith(("| `clearml_agent_", "| `process_"))]
    listed = {name for row in rows for name in re.findall(r"`([a-z_]+)", row)}
    made = set(re.findall(r"^# TYPE (\S+)", render(SNAPSHOT, [], tmp_path), re.MULTILINE))
    assert listed == made
