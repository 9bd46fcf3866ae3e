from __future__ import annotations

import json
import logging
from collections.abc import Collection, Sequence
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.errors import InvalidRequest, NotFound, ServerUnreachable, Subcode
from clearml_agent_clone.api.types import Entry, Queue
from clearml_agent_clone.errors import Cancelled, Retryable
from clearml_agent_clone.worker.claims import FIRST_HOLD, LONGEST_HOLD, Claims, HoldOff, unix_time
from clearml_agent_clone.worker.listening import LOOK_AGAIN, Listening
from clearml_agent_clone.worker.records import ClaimRecord, PollRecord, Rescue


class Server:
    """Queues that remember claims, as our server does, or do not."""

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
        missing = False
        for queue in queue_ids:
            missing |= queue not in self.queues
            if self.queues.get(queue):
                entry = Entry(self.queues[queue].pop(0), queue)
                if claim and self.remembers_claims:
                    self.claimed[claim] = entry
                if self.lose_reply:
                    self.lose_reply = False
                    raise ServerUnreachable("connection lost", may_have_acted=True)
                return entry
        if missing:
            raise no_such_queue()
        return None

    def all(self, ids: Collection[str] | None = None) -> list[Queue]:
        return [Queue(name, f"{name} queue") for name in self.queues if ids is None or name in ids]

    def resolve(self, name_or_id: str) -> Queue:
        for queue in self.all():
            if name_or_id in {queue.id, queue.name}:
                return queue
        raise NotFound("there is no such queue")

    def put_back(self, entry: Entry, why: str = "") -> None:
        self.queues[entry.queue].insert(0, entry.task)
        self.claimed = {claim: other for claim, other in self.claimed.items() if other != entry}


def no_such_queue() -> InvalidRequest:
    return InvalidRequest("no", endpoint="x", status=400, subcode=Subcode.NO_SUCH_QUEUE, server_message="")


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@attrs.define
class Rig:
    """A claim loop with everything around it; ``fail`` makes accepting a task fail."""

    server: Server
    folder: Path
    free: int = 1
    fair: bool = False
    fail: Exception | None = None
    away: Exception | None = None
    taken: list[str] = attrs.Factory(list)
    claimed: list[str] = attrs.Factory(list)
    time: Time = attrs.Factory(Time)

    def start(self) -> Claims:
        """A daemon: what it knows comes from the folder."""
        self.polls = PollRecord(self.folder / "poll.json", self.time())
        return Claims(
            self.server,
            Listening(self.server, self.server.all()),
            ClaimRecord(self.folder / "claim.json"),
            self.polls,
            free=lambda: self.free,
            accept=self.accept,
            give_up=self.give_up,
            hold=HoldOff(self.time),
            interval=5.0,
            fair=self.fair,
            clock=self.time,
        )

    polls: PollRecord = attrs.field(init=False)

    def accept(self, entry: Entry, claim: str) -> None:
        if self.fail is not None:
            raise self.fail
        self.taken.append(entry.task)
        self.claimed.append(claim)

    def give_up(self, entry: Entry, why: str) -> None:
        if self.away is not None:
            raise self.away
        self.server.put_back(entry, why)


def test_urgent_queues_come_first(tmp_path: Path) -> None:
    rig = Rig(Server(waits=True, high=["a", "b"], low=["c"]), tmp_path)
    claims = rig.start()
    for now in range(4):
        assert claims.step(now) == 0.0
    assert rig.taken == ["a", "b", "c"]
    assert len(set(rig.claimed)) == 3


def test_fairness_goes_round(tmp_path: Path) -> None:
    rig = Rig(Server(waits=True, one=["a", "b"], two=["c", "d"]), tmp_path, fair=True)
    claims = rig.start()
    for now in range(4):
        claims.step(now)
    assert rig.taken == ["a", "c", "b", "d"]


def test_a_server_that_cannot_wait_is_polled(tmp_path: Path) -> None:
    assert Rig(Server(waits=False, q=[]), tmp_path).start().step(0) == 5.0


def test_without_a_slot_nobody_is_asked(tmp_path: Path) -> None:
    rig = Rig(Server(waits=True, q=["a"]), tmp_path, free=0)
    assert rig.start().step(0) > 60
    assert rig.server.asked == []
    assert rig.taken == []


def test_a_lost_reply_loses_no_task(tmp_path: Path) -> None:
    rig = Rig(Server(waits=True, q=["a"]), tmp_path)
    rig.server.lose_reply = True
    claims = rig.start()
    with pytest.raises(ServerUnreachable):
        claims.step(0)
    assert rig.polls.doubt is None, "the claim brings it again"
    claims.step(1)
    assert rig.taken == ["a"]


def test_a_daemon_that_died_before_writing_the_task_down_gets_it_again(tmp_path: Path) -> None:
    rig = Rig(Server(waits=True, q=["a", "b"]), tmp_path, fail=None)
    rig.fail = KeyboardInterrupt()  # type: ignore[assignment] # nothing that a loop may catch
    with pytest.raises(KeyboardInterrupt):
        rig.start().step(0)
    rig.fail = None
    claims = rig.start()
    claims.step(1)
    claims.step(2)
    assert rig.taken == ["a", "b"]


def test_a_claim_that_has_brought_its_task_is_not_asked_with_again(tmp_path: Path) -> None:
    record = ClaimRecord(tmp_path / "claim.json")
    claim = record.current()
    assert ClaimRecord(tmp_path / "claim.json").current() == claim
    assert record.is_of(claim)
    record.settled()
    assert not record.is_of(claim)
    assert not record.is_of("")
    assert ClaimRecord(tmp_path / "claim.json").current() != claim


@pytest.mark.parametrize("error", [Retryable("no space left"), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("modern", [True, False])
def test_a_task_that_cannot_be_written_down_waits_in_its_queue_again(
    tmp_path: Path, modern: bool, error: Exception
) -> None:
    rig = Rig(Server(waits=modern, q=["a", "b"]), tmp_path, fail=error)
    claims = rig.start()
    assert claims.step(0) == FIRST_HOLD
    assert rig.server.queues["q"] == ["a", "b"]
    asked = len(rig.server.asked)
    assert claims.step(1) == FIRST_HOLD
    assert len(rig.server.asked) == asked, "it is not taken again at once"
    rig.time.now += FIRST_HOLD
    assert claims.step(FIRST_HOLD) == 2 * FIRST_HOLD, "and later each time"
    rig.time.now += 2 * FIRST_HOLD
    rig.fail = None
    claims.step(20)
    claims.step(21)
    assert rig.taken == ["a", "b"]


def test_until_a_task_is_put_back_no_other_is_taken(tmp_path: Path) -> None:
    rig = Rig(Server(waits=True, q=["a", "b"]), tmp_path, fail=Retryable("disk full"), away=Retryable("server away"))
    claims = rig.start()
    for now in (0, 100):
        rig.time.now = now
        with pytest.raises(Retryable, match="server away"):
            claims.step(now)
    assert len(rig.server.asked) == 1
    later = rig.start()
    rig.fail = rig.away = None
    later.step(0)
    assert rig.taken == ["a"], "a daemon that comes after us has the same claim"


def test_the_pause_has_an_end_and_a_start_resets_it() -> None:
    time = Time()
    hold = HoldOff(time)
    assert hold.left() == 0
    assert max(hold.failed() for _ in range(20)) == LONGEST_HOLD
    assert hold.left() == LONGEST_HOLD
    hold.worked()
    assert hold.failed() == FIRST_HOLD


# --- servers that know no claims ---------------------------------------------------------------------------------


def test_a_lost_reply_is_in_doubt(tmp_path: Path) -> None:
    rig = Rig(Server(waits=False, q=["a"]), tmp_path)
    rig.server.lose_reply = True
    rig.time.now = 1000.0
    claims = rig.start()
    woken: list[int] = []
    rig.polls.on_doubt = lambda: woken.append(1)
    with pytest.raises(ServerUnreachable):
        claims.step(0)
    assert (rig.polls.doubt, woken) == (1000.0, [1])
    claims.leave()
    rig.time.now = 2000.0
    rig.start()
    assert (rig.polls.doubt, rig.polls.queue_ids) == (2000.0, ("q",)), "over a restart, too"


@pytest.mark.parametrize("error", [ServerUnreachable("refused"), Cancelled()])
def test_only_what_may_have_arrived_is_in_doubt(tmp_path: Path, error: Exception) -> None:
    rig = Rig(Server(waits=False, q=[]), tmp_path)
    claims = rig.start()
    rig.server.next = lambda *_, **__: (_ for _ in ()).throw(error)  # type: ignore[method-assign] # as the server does
    with pytest.raises(type(error)):
        claims.step(0)
    assert (rig.polls.doubt is not None) is isinstance(error, Cancelled)


def test_a_daemon_that_was_killed_leaves_doubt_and_one_that_left_does_not(tmp_path: Path) -> None:
    rig = Rig(Server(waits=False, q=[]), tmp_path)
    killed = rig.start()
    killed.step(0)
    assert json.loads((tmp_path / "poll.json").read_text())["queues"] == ["q"]
    other = rig.start()
    assert rig.polls.doubt is not None
    rig.polls.cleared()
    other.step(0)
    other.leave()
    assert not (tmp_path / "poll.json").exists()
    rig.start()
    assert rig.polls.doubt is None


def test_a_rescue_is_remembered(tmp_path: Path) -> None:
    polls = PollRecord(tmp_path / "poll.json", 0.0)
    polls.polling(["q"])
    polls.rescuing(Rescue("t", "q", "word"))
    polls.leave()
    assert PollRecord(tmp_path / "poll.json", 1.0).rescue == Rescue("t", "q", "word")


@pytest.mark.parametrize("text", ["{", "[]", '{"queues": 5}', '{"queues": ["q"], "rescue": {"new": 1}, "format": 8}'])
def test_records_of_other_versions_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "poll.json").write_text(text)
    (tmp_path / "claim.json").write_text(text)
    polls = PollRecord(tmp_path / "poll.json", 1.0)
    assert polls.rescue is None
    assert ClaimRecord(tmp_path / "claim.json").current()


# --- queues that come and go -------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [True, False])
def test_a_queue_that_is_deleted_is_told_once_and_the_others_go_on(
    tmp_path: Path, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(Server(waits=waits, one=[], two=["a", "b"]), tmp_path)
    claims = rig.start()
    del rig.server.queues["one"]
    for now in range(6):
        claims.step(now)
    assert rig.taken == ["a", "b"]
    assert rig.server.asked[-1] == ["two"]
    said = [record.message for record in caplog.records if "does not exist any more" in record.message]
    assert len(said) == 1
    assert '"one queue" (one)' in said[0]


def test_a_queue_that_is_there_again_is_found_by_its_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rig = Rig(Server(waits=True, one=[]), tmp_path)
    claims = rig.start()
    del rig.server.queues["one"]
    assert claims.step(0) == 1.0
    assert claims.step(1) == LOOK_AGAIN
    asked = len(rig.server.asked)
    assert claims.step(2) == LOOK_AGAIN - 1
    assert len(rig.server.asked) == asked, "nothing to ask for"

    class Again(Server):
        def all(self, ids: Collection[str] | None = None) -> list[Queue]:
            return [Queue("new", "one queue")]

    rig.server.__class__ = Again
    rig.server.queues["new"] = ["a"]
    claims.step(1 + LOOK_AGAIN)
    assert rig.taken == ["a"]
    assert any("exists again" in record.message for record in caplog.records)


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
