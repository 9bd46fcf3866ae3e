"""The run's state machine, as a table, and the durable record of every move."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.runner.job import RECORD_FORMAT
from clearml_agent_clone.util.files import read_json, write_json


class State(enum.Enum):
    """Where a run stands. A state is written down before what it stands for is done."""

    CLAIMED = "claimed"
    PREPARING = "preparing"
    RUNNING = "running"
    FINISHING = "finishing"
    DONE = "done"


MOVES: dict[State, frozenset[State]] = {
    State.CLAIMED: frozenset({State.PREPARING, State.FINISHING}),
    State.PREPARING: frozenset({State.RUNNING, State.FINISHING}),
    State.RUNNING: frozenset({State.FINISHING}),
    State.FINISHING: frozenset({State.DONE}),
    State.DONE: frozenset(),
}

_TIMES = "times"
_FORMAT = "format"


class Journal:
    """Moves a run from state to state; each move is on disk before ``move`` returns."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._facts: dict[str, Any] = {}
        self.state = State.CLAIMED

    @classmethod
    def open(cls, file: Path) -> Journal:
        """The journal as the last move left it; a missing or damaged file counts as claimed.

        A state that a newer version has made up counts as running: whatever it means, the task has been touched, and
        must not be run from its beginning.
        """
        journal = cls(file)
        record = read_json(file)
        if isinstance(record, dict):
            try:
                journal.state = State(record.pop("state", "claimed"))
            except ValueError:
                journal.state = State.RUNNING
            record.pop(_FORMAT, None)
            journal._facts = record
        return journal

    @property
    def facts(self) -> dict[str, Any]:
        """What was written down with the moves so far."""
        return {name: fact for name, fact in self._facts.items() if name != _TIMES}

    @property
    def times(self) -> dict[State, float]:
        """Unix seconds of the moves so far."""
        stamps = self._facts.get(_TIMES)
        known = {state.value: state for state in State}
        if not isinstance(stamps, dict):
            return {}
        return {
            known[word]: stamp for word, stamp in stamps.items() if word in known and isinstance(stamp, int | float)
        }

    def move(self, state: State, **facts: Any) -> None:
        """Go to ``state``, adding ``facts`` to the record.

        Raises:
            Fatal: the table does not allow it; nothing was written.
        """
        if state not in MOVES[self.state]:
            raise Fatal(f"a run cannot go from {self.state.value} to {state.value}", code="illegal-move")
        stamps = {known.value: stamp for known, stamp in self.times.items()}
        record = {**self._facts, **facts, _TIMES: {**stamps, state.value: round(self._clock(), 3)}}
        write_json(self._file, {**record, "state": state.value, _FORMAT: RECORD_FORMAT})
        self._facts = record
        self.state = state
