"""In words: how a run ended, and what became of its task."""

from __future__ import annotations

from clearml_agent_clone.config import AgentSettings
from clearml_agent_clone.runner.job import Job
from clearml_agent_clone.runner.outcome import Outcome, Policy


def summary(outcome: Outcome | None) -> str:
    """For the log: the cause and what is known beyond it."""
    if outcome is None:
        return "ended"
    code = "" if outcome.exit_code is None else f", exit code {outcome.exit_code}"
    return f"{outcome.cause.value}{code}{', ' + outcome.detail if outcome.detail else ''}"


def fate_of(job: Job, outcome: Outcome | None, agent: AgentSettings) -> str:
    """For who stopped the agent: the task's status now, and why."""
    if outcome is None:
        return "ended"
    policy = Policy(agent.on_shutdown, agent.on_node_loss, agent.on_start_failure, has_queue=bool(job.queue_id))
    ending = outcome.ending_by(policy)
    return f"{ending.verdict.value or 'left as it is'} ({ending.reason or summary(outcome)})"
