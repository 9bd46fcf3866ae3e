"""What the daemon writes down before it takes a task, so that neither a lost answer nor its own end loses one."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.runner.job import RECORD_FORMAT
from clearml_agent_clone.util.files import read_json, write_json


class ClaimRecord:
    """The claim's id, on disk before the call that pops a task.

    A server that knows claims answers the same id with the same task, so a reply that was lost with us, or on its
    way, is asked for again by whoever comes next. The id changes only when its task is safely written down, or waits
    in its queue again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        record = read_json(file)
        self._id = str(record.get("claim", "")) if isinstance(record, dict) else ""

    def current(self) -> str:
        """The id to use now, made and written down if there is none."""
        if not self._id:
            made = uuid.uuid4().hex
            write_json(self._file, {"format": RECORD_FORMAT, "claim": made})
            self._id = made
        return self._id

    def settled(self) -> None:
        """The task of the current id is taken care of.

        Written down, or a later daemon would ask with the id again and get a task that is long over.
        """
        self._id = ""
        with contextlib.suppress(AgentError):  # a full disk: the run's folder has the id too, see ``is_of``
            write_json(self._file, {"format": RECORD_FORMAT, "claim": ""}, durable=False)

    def is_of(self, claim: str) -> bool:
        """Whether ``claim`` is the current id, which then had brought a task before this daemon's time."""
        return bool(claim) and claim == self._id


@attrs.frozen
class Rescue:
    """A task that is being put back, under a message that nobody else uses."""

    task_id: str
    queue_id: str
    message: str


POLL_FILE = "poll.json"
"""The file of ``PollRecord`` in a worker's folder."""


class PollRecord:
    """Which queues are polled, on disk before the first poll of a server that does not know claims.

    There a reply that got lost may have taken a task with it. When that has happened, or may have because an earlier
    daemon did not come to take the record away, there is ``doubt``, which lasts (over restarts too) until the
    reconciler has looked for the task long enough.

    Args:
        file: the record.
        now: Unix seconds.
    """

    def __init__(self, file: Path, now: float) -> None:
        self._file = file
        self._written: object = None
        self._lock = threading.Lock()
        self.on_doubt: Callable[[], None] = lambda: None
        self.queue_ids: tuple[str, ...] = ()
        self.doubt: float | None = None
        """Unix seconds of the last poll that may have taken a task from us; None when there was none."""
        self.rescue: Rescue | None = None
        self._read(now)

    def _read(self, now: float) -> None:
        record = read_json(self._file)
        if not isinstance(record, dict):
            return
        queues = record.get("queues")
        self.queue_ids = tuple(map(str, queues)) if isinstance(queues, list) else ()
        self.doubt = now
        rescue = record.get("rescue")
        if isinstance(rescue, dict):
            with contextlib.suppress(KeyError):
                self.rescue = Rescue(str(rescue["task_id"]), str(rescue["queue_id"]), str(rescue["message"]))

    def polling(self, queue_ids: Sequence[str]) -> None:
        """These queues will be polled. Queues that are in doubt stay in the record."""
        kept = self.queue_ids if self.doubt is not None else ()
        self.queue_ids = tuple(dict.fromkeys([*kept, *queue_ids]))
        self._write()

    def doubtful(self, now: float) -> None:
        """An answer got lost that may have brought a task."""
        self.doubt = now
        self.on_doubt()

    def cleared(self) -> None:
        """There was nothing, or it is put back."""
        self.doubt = None

    def rescuing(self, rescue: Rescue | None) -> None:
        """Write down what is to be put back; None: it is done."""
        self.rescue = rescue
        self._write()

    def inherit(self, other: PollRecord) -> None:
        """Take over the doubt of an agent that is gone."""
        self.queue_ids = tuple(dict.fromkeys([*self.queue_ids, *other.queue_ids]))
        self.rescue = self.rescue or other.rescue
        self.doubt = other.doubt
        self._write()
        self.on_doubt()

    def leave(self) -> None:
        """The last poll is answered: an end without doubt leaves no record."""
        if self.doubt is None and self.rescue is None:
            with contextlib.suppress(OSError):
                self._file.unlink(missing_ok=True)
        else:
            with contextlib.suppress(AgentError):  # what stands there says the same
                self._write()

    def _write(self) -> None:
        with self._lock:
            rescue = None if self.rescue is None else attrs.asdict(self.rescue)
            record = {"format": RECORD_FORMAT, "queues": list(self.queue_ids), "rescue": rescue}
            if record != self._written:
                write_json(self._file, record)
                self._written = record
