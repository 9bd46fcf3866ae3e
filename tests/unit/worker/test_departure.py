from __future__ import annotations

import json
import logging
import os
import signal
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.worker.departure import DELIVERY_PATIENCE, Departure
from clearml_agent_clone.worker.registry import Registration, WorkerName, register
from clearml_agent_clone.worker.stopmode import StopMode

DRAIN, STOP, NOW = StopMode.DRAIN, StopMode.STOP, StopMode.NOW


@attrs.define
class Process:
    pid: int


@attrs.define
class Run:
    """As much of a run as is looked at."""

    job: Job
    folder: RunFolder
    process: Process = attrs.Factory(lambda: Process(7))
    signals: list[int] = attrs.Factory(list)

    @property
    def journal(self) -> Journal:
        return Journal.open(self.folder.state_file)

    def signal(self, number: int) -> None:
        self.signals.append(number)


@pytest.fixture
def registration(tmp_path: Path) -> Registration:
    return register(tmp_path, WorkerName("host"))


def make(registration: Registration, now: float = 0.0) -> tuple[Departure, list[float]]:
    time = [now]
    return Departure(registration, lambda: None, lambda: time[0]), time


def run(tmp_path: Path, task: str = "t") -> Run:
    job = Job(f"run-{task}", task, "host:0", 1.0)
    return Run(job, RunFolder.create(tmp_path / "runs", job))


@pytest.mark.parametrize(
    ("numbers", "mode"),
    [
        ([signal.SIGTERM], DRAIN),
        ([signal.SIGTERM] * 2, STOP),
        ([signal.SIGTERM] * 5, STOP),
        ([signal.SIGINT], STOP),
        ([signal.SIGINT] * 2, NOW),
        ([signal.SIGTERM, signal.SIGINT], STOP),
        ([signal.SIGINT, signal.SIGTERM], STOP),
        ([signal.SIGTERM, signal.SIGTERM, signal.SIGINT], NOW),
        ([signal.SIGHUP], None),
    ],
)
def test_what_signals_mean(registration: Registration, numbers: list[int], mode: StopMode | None) -> None:
    departure, _ = make(registration)
    with departure.signals():
        for number in numbers:
            os.kill(os.getpid(), number)
    assert departure.mode is mode


@pytest.mark.parametrize("mode", list(StopMode))
def test_stop_says_what_it_wants_before_its_signal(registration: Registration, mode: StopMode) -> None:
    departure, _ = make(registration)
    registration.stop_file.write_text(json.dumps({"mode": mode.value, "id": "1"}))
    with departure.signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert departure.mode is mode
        registration.stop_file.write_text(json.dumps({"mode": "drain", "id": "2"}))
        os.kill(os.getpid(), signal.SIGTERM)
        assert departure.mode is mode, "it becomes only less patient"


def test_a_signal_after_a_drain_that_was_asked_for_stops(registration: Registration) -> None:
    departure, _ = make(registration)
    registration.stop_file.write_text(json.dumps({"mode": "drain", "id": "1"}))
    with departure.signals():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
    assert departure.mode is STOP


@pytest.mark.parametrize("text", ["", "[]", '{"mode": "later"}', '{"mode": null}'])
def test_a_foreign_stop_file_is_none(registration: Registration, text: str) -> None:
    departure, _ = make(registration)
    registration.stop_file.write_text(text)
    with departure.signals():
        os.kill(os.getpid(), signal.SIGTERM)
    assert departure.mode is DRAIN


def test_each_runner_is_told_once_what_to_do(
    registration: Registration, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    departure, _ = make(registration)
    one = run(tmp_path)
    departure.press([one])  # type: ignore[list-item] # all that is used of it
    for mode in (DRAIN, STOP, NOW):
        departure.ask(mode)
        for _ in range(3):
            departure.press([one])  # type: ignore[list-item]
    assert one.signals == [signal.SIGTERM, signal.SIGQUIT]
    one.process = Process(8)
    departure.press([one])  # type: ignore[list-item]
    assert one.signals[2:] == [signal.SIGQUIT], "a successor knows nothing of it"
    assert [record.message.split(":")[0] for record in caplog.records] == ["draining", "stopping", "stopping at once"]


@pytest.mark.parametrize(("mode", "leaves"), [(DRAIN, False), (STOP, True), (NOW, True)])
def test_a_runner_that_only_delivers_is_not_waited_for_without_end(
    registration: Registration, tmp_path: Path, mode: StopMode, leaves: bool
) -> None:
    departure, time = make(registration)
    one = run(tmp_path)
    departure.ask(mode)
    time[0] = 1000.0
    assert departure.to_wait_for([one]), "its task still runs"  # type: ignore[list-item]
    one.journal.move(State.FINISHING)
    assert departure.to_wait_for([one])  # type: ignore[list-item]
    time[0] += DELIVERY_PATIENCE
    assert bool(departure.to_wait_for([one])) is not leaves  # type: ignore[list-item]


def test_the_farewell_tells_of_every_task(registration: Registration, tmp_path: Path) -> None:
    departure, _ = make(registration)
    departure.note("earlier", "completed")
    departure.ask(STOP)
    departure.note("ended", "stopped (user abort)")
    departure.farewell([run(tmp_path, "left")])  # type: ignore[list-item]
    tasks = json.loads(registration.farewell_file.read_text())["tasks"]
    assert [(task["task"], task["fate"].split()[0]) for task in tasks] == [("ended", "stopped"), ("left", "still")]
