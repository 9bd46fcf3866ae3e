from __future__ import annotations

import signal

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.runner.outcome import Cause, Outcome, Policy, Verdict


@pytest.mark.parametrize(
    ("outcome", "verdict", "reason", "console", "code"),
    [
        (Outcome(Cause.EXIT, 0), Verdict.COMPLETED, "worker execution done", "Process completed successfully", 0),
        (Outcome(Cause.EXIT, 7), Verdict.FAILED, "worker execution exit code 7", "Process failed, exit code 7", 7),
        (
            Outcome(Cause.EXIT, -signal.SIGKILL),
            Verdict.FAILED,
            "worker execution exit code -9 (ended by SIGKILL)",
            "Process failed, exit code -9 (ended by SIGKILL)",
            137,
        ),
        (Outcome(Cause.EXIT, -signal.SIGINT), Verdict.STOPPED, "user abort", "Process terminated by user", 130),
        (Outcome(Cause.EXIT, 254), Verdict.STOPPED, "user abort", "Process terminated by user", 254),
        (Outcome(Cause.ABORT, -15), Verdict.STOPPED, "task was stopped by tasks.stop", "Process aborted by user", 254),
        (
            Outcome(Cause.TIME_LIMIT, -15, "60"),
            Verdict.FAILED,
            "time limit of 60 s reached",
            "Process failed, time limit of 60 s reached",
            1,
        ),
        (Outcome(Cause.STATUS_CHANGED, -15), Verdict.NONE, "", "", 1),
        (Outcome(Cause.RESET, -15), Verdict.NONE, "", "", 1),
        (Outcome(Cause.GONE, -15), Verdict.NONE, "", "", 1),
    ],
)
def test_each_end_tells_server_console_and_shell(
    outcome: Outcome, verdict: Verdict, reason: str, console: str, code: int
) -> None:
    ending = outcome.ending
    assert (ending.verdict, ending.reason, ending.console) == (verdict, reason, console)
    assert outcome.shell_code == code


def test_a_failed_step_gives_the_task_the_same_reason_as_the_console() -> None:
    error = UserError("commit abc is not in the repository", remedy="Push it")
    outcome = Outcome.of_error("source", error)
    assert outcome.ending.verdict is Verdict.FAILED
    assert outcome.ending.reason == "source failed: commit abc is not in the repository. Push it"


@pytest.mark.parametrize("cause", list(Cause))
def test_an_outcome_survives_its_record(cause: Cause) -> None:
    outcome = Outcome(cause, 3, "detail", "step")
    assert Outcome.from_record(outcome.to_record()) == outcome


@pytest.mark.parametrize("record", [None, [], {}, {"cause": "nothing known"}])
def test_a_foreign_record_is_no_outcome(record: object) -> None:
    assert Outcome.from_record(record) is None


def test_braces_in_an_error_are_text() -> None:
    assert "{oops}" in Outcome(Cause.PREPARATION, None, "{oops}", "source").ending.reason


@pytest.mark.parametrize(
    ("outcome", "policy", "verdict", "reason"),
    [
        (Outcome(Cause.SHUTDOWN), Policy("stop"), Verdict.STOPPED, "user abort: the agent was stopped"),
        (Outcome(Cause.SHUTDOWN), Policy("fail"), Verdict.FAILED, "the agent was stopped"),
        (Outcome(Cause.SHUTDOWN), Policy("requeue", has_queue=True), Verdict.REQUEUED, "the agent was stopped"),
        (Outcome(Cause.SHUTDOWN), Policy("requeue"), Verdict.STOPPED, "user abort: the agent was stopped"),
        (
            Outcome(Cause.SHUTDOWN, begun=False),
            Policy("fail", has_queue=True),
            Verdict.REQUEUED,
            "the agent was stopped",
        ),
        (Outcome(Cause.INTERRUPT, begun=False), Policy(has_queue=True), Verdict.REQUEUED, "the agent was stopped"),
        (Outcome(Cause.INTERRUPT, begun=False), Policy(), Verdict.STOPPED, "user abort"),
        (Outcome(Cause.ABORT, begun=False), Policy(has_queue=True), Verdict.STOPPED, "task was stopped by tasks.stop"),
        (Outcome(Cause.NODE_LOST, None, "x"), Policy(has_queue=True), Verdict.FAILED, "node lost: x"),
        (
            Outcome(Cause.NODE_LOST, None, "{x}"),
            Policy(on_node_loss="requeue", has_queue=True),
            Verdict.REQUEUED,
            "node lost: {x}",
        ),
        (Outcome(Cause.NODE_LOST, None, "x"), Policy(on_node_loss="requeue"), Verdict.FAILED, "node lost: x"),
        (Outcome(Cause.START_REFUSED, None, "x"), Policy(has_queue=True), Verdict.REQUEUED, "start refused: x"),
        (Outcome(Cause.START_REFUSED, None, "x"), Policy(), Verdict.FAILED, "start refused: x"),
        (
            Outcome(Cause.START_REFUSED, None, "x"),
            Policy(on_start_failure="fail", has_queue=True),
            Verdict.FAILED,
            "start refused: x",
        ),
    ],
)
def test_the_user_decides_over_ends_that_are_nobodys_fault(
    outcome: Outcome, policy: Policy, verdict: Verdict, reason: str
) -> None:
    ending = outcome.ending_by(policy)
    assert (ending.verdict, ending.reason) == (verdict, reason)


def test_a_task_without_a_queue_is_told_why_it_does_not_go_back() -> None:
    ending = Outcome(Cause.SHUTDOWN).ending_by(Policy("requeue"))
    assert ending.console == "Process terminated by user (it came from no queue that it could go back to)"


def test_a_record_of_an_older_version_is_read() -> None:
    record = Outcome(Cause.EXIT, 1).to_record()
    del record["begun"]
    assert Outcome.from_record(record) == Outcome(Cause.EXIT, 1)
