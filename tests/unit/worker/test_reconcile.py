from __future__ import annotations

import datetime as dt
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.put_back import Place
from clearml_agent_clone.api.types import TaskStatus
from clearml_agent_clone.errors import Retryable
from clearml_agent_clone.worker.reconcile import LOOK, SAFE, Reconciler
from clearml_agent_clone.worker.records import PollRecord, Rescue

START = 1_700_000_000.0


def place(task: str, queue: str = "q", changed: float = START - 60) -> Place:
    stamp = dt.datetime.fromtimestamp(changed, dt.timezone.utc).isoformat()
    return Place(task, TaskStatus.QUEUED, "", "", stamp, queue)


@attrs.define
class Server:
    """Tasks and queues as the calls show them."""

    places: list[Place] = attrs.Factory(list)
    entries: dict[str, list[str]] = attrs.Factory(dict)
    rescued: list[str] = attrs.Factory(list)
    half: set[str] = attrs.Factory(set)
    looks: int = 0
    away: bool = False

    def queued(self, *, retry: Retry | None = None) -> list[Place]:
        self.looks += 1
        return list(self.places)

    def waiting(self, queue_id: str, *, retry: Retry | None = None) -> list[str]:
        return self.entries.get(queue_id, [])

    def rescue(self, seen: Place, *, reason: str, message: str, retry: Retry | None = None) -> bool:
        if self.away:
            self.half.add(message)
            raise Retryable("away")
        self.rescued.append(seen.task)
        self.entries.setdefault(seen.queue, []).insert(0, seen.task)
        return True

    def half_rescued(self, task_id: str, message: str, *, retry: Retry | None = None) -> bool:
        return message in self.half

    def put_back(
        self, task_id: str, queue_id: str, *, reason: str = "", message: str = "", retry: Retry | None = None
    ) -> bool:
        self.rescued.append(task_id)
        return True


@pytest.fixture
def polls(tmp_path: Path) -> PollRecord:
    record = PollRecord(tmp_path / "poll.json", START)
    record.polling(["q"])
    return record


def make(server: Server, polls: PollRecord, held: set[str] | None = None) -> Reconciler:
    return Reconciler(server, server, polls, held=lambda: held or set(), worker_id="host:0", clock=lambda: START)


def steps(reconciler: Reconciler, seconds: float, start: float = 0.0) -> None:
    now = start
    while now <= start + seconds:
        reconciler.step(now)
        now += LOOK


def test_without_doubt_nobody_is_asked(polls: PollRecord) -> None:
    server = Server([place("lost")])
    assert make(server, polls).step(0) > 600
    assert server.looks == 0


def test_a_lost_task_is_put_back_when_it_is_safe_and_the_doubt_ends(polls: PollRecord) -> None:
    server = Server([place("lost")], {"q": []})
    reconciler = make(server, polls)
    polls.doubtful(START)
    steps(reconciler, SAFE - LOOK)
    assert server.rescued == []
    steps(reconciler, LOOK, SAFE)
    assert server.rescued == ["lost"]
    assert polls.rescue is None
    steps(reconciler, SAFE, SAFE + 2 * LOOK)
    assert polls.doubt is None
    assert server.rescued == ["lost"]


@pytest.mark.parametrize(
    "other",
    [
        place("waits"),
        place("elsewhere", "other queue"),
        place("held"),
        place("new", changed=START + 3600),
    ],
)
def test_what_is_not_lost_by_us_is_left_alone(polls: PollRecord, other: Place) -> None:
    server = Server([other], {"q": ["waits"]})
    polls.doubtful(START)
    steps(make(server, polls, {"held"}), 3 * SAFE)
    assert server.rescued == []
    assert polls.doubt is None


def test_a_task_that_somebody_touches_is_watched_from_the_start_again(polls: PollRecord) -> None:
    server = Server([place("lost")], {"q": []})
    reconciler = make(server, polls)
    polls.doubtful(START)
    steps(reconciler, SAFE / 2)
    server.places = [place("lost", changed=START)]
    steps(reconciler, SAFE - LOOK, SAFE / 2 + LOOK)
    assert server.rescued == []
    server.places = []  # another worker has it in progress
    steps(reconciler, SAFE, 2 * SAFE)
    assert (server.rescued, polls.doubt) == ([], None)


def test_a_second_doubt_prolongs_the_search(polls: PollRecord) -> None:
    server = Server([], {"q": []})
    reconciler = make(server, polls)
    polls.doubtful(START)
    steps(reconciler, SAFE / 2)
    polls.doubtful(START + 30)
    steps(reconciler, SAFE - LOOK, SAFE / 2 + LOOK)
    assert polls.doubt is not None
    steps(reconciler, 2 * LOOK, 2 * SAFE)
    assert polls.doubt is None


def test_what_was_cut_off_in_the_middle_is_ended_also_by_the_next_daemon(polls: PollRecord, tmp_path: Path) -> None:
    server = Server([place("lost")], {"q": []}, away=True)
    reconciler = make(server, polls)
    polls.doubtful(START)
    steps(reconciler, SAFE - LOOK)
    with pytest.raises(Retryable):
        steps(reconciler, LOOK, SAFE)
    server.places = []  # it is a draft now
    later = PollRecord(tmp_path / "poll.json", START + 100)
    assert isinstance(later.rescue, Rescue)
    make(server, later).step(0)
    assert server.rescued == ["lost"]
    assert later.rescue is None


def test_a_rescue_that_another_agent_has_made_is_left_alone(polls: PollRecord) -> None:
    server = Server()
    polls.rescuing(Rescue("t", "q", "ours"))
    make(server, polls).step(0)
    assert (server.rescued, polls.rescue) == ([], None)
