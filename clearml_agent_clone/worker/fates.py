"""In words: how a run ended, and what became of its task."""

from __future__ import annotations

from clearml_agent_clone.runner.journal import Journal
from clearml_agent_clone.runner.outcome import Ending, Outcome


def summary(outcome: Outcome | None) -> str:
    """For the log: the cause and what is known beyond it."""
    if outcome is None:
        return "ended"
    code = "" if outcome.exit_code is None else f", exit code {outcome.exit_code}"
    return f"{outcome.cause.value}{code}{', ' + outcome.detail if outcome.detail else ''}"


def ending_of(journal: Journal) -> Ending | None:
    """What its runner decided; for a record of another version, what it would be by default. None when it is not over."""
    outcome = Outcome.from_record(journal.facts.get("outcome"))
    return Ending.from_record(journal.facts.get("ending")) or (None if outcome is None else outcome.ending)


def fate_of(journal: Journal) -> str:
    """For who stopped the agent: the task's status now, and why."""
    ending = ending_of(journal)
    if ending is None:
        return "ended"
    why = ending.reason or summary(Outcome.from_record(journal.facts.get("outcome")))
    return f"{ending.verdict.value or 'left as it is'} ({why})"
