from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.runner.journal import MOVES, Journal, State


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_every_pair_of_states_follows_the_table(before: State, after: State, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(f'{{"state": "{before.value}"}}')
    journal = Journal.open(file)
    if after in MOVES[before]:
        journal.move(after)
        assert Journal.open(file).state is after
    else:
        with pytest.raises(Fatal, match=f"from {before.value} to {after.value}"):
            journal.move(after)
        assert Journal.open(file).state is before


def test_facts_add_up_over_moves_and_survive(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state.json")
    journal.move(State.PREPARING, started=1)
    journal.move(State.RUNNING, user=2)
    assert Journal.open(tmp_path / "state.json").facts == {"started": 1, "user": 2}


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_record_counts_as_claimed(content: str, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(content)
    assert Journal.open(file).state is State.CLAIMED


def test_a_newer_versions_record_is_no_reason_to_run_the_task_again(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"state": "flying", "format": 7, "altitude": 3}')
    journal = Journal.open(file)
    assert (journal.state, journal.facts) == (State.RUNNING, {"altitude": 3})
    journal.move(State.FINISHING)
    assert '"format":1' in file.read_text()


def test_it_tells_when_the_moves_were(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "state.json", lambda: 100.0)
    journal.move(State.PREPARING)
    journal = Journal.open(tmp_path / "state.json")
    journal._clock = lambda: 107.5
    journal.move(State.RUNNING)
    assert Journal.open(tmp_path / "state.json").times == {State.PREPARING: 100.0, State.RUNNING: 107.5}


@pytest.mark.parametrize("times", ['"x"', '{"running": "soon", "flying": 3}'])
def test_foreign_times_are_none(times: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(f'{{"state": "running", "times": {times}}}')
    assert Journal.open(tmp_path / "state.json").times == {}
