"""How a run ended: who did it, why, and what the server and the console are told."""

from __future__ import annotations

import enum
import signal
from typing import Any

import attrs

from clearml_agent_clone.errors import AgentError


class Cause(enum.Enum):
    """Why a run is over."""

    EXIT = "exit"
    PREPARATION = "preparation"
    ABORT = "abort"
    SHUTDOWN = "shutdown"
    INTERRUPT = "interrupt"
    TIME_LIMIT = "time_limit"
    STATUS_CHANGED = "status_changed"
    FAILED_OUTSIDE = "failed_outside"
    RESET = "reset"
    GONE = "gone"
    NOT_STARTED = "not_started"
    START_REFUSED = "start_refused"
    RUNNER_LOST = "runner_lost"
    NODE_LOST = "node_lost"


class Verdict(enum.Enum):
    """What becomes of the task; NONE leaves the status as somebody else set it."""

    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    REQUEUED = "requeued"
    NONE = ""


@attrs.frozen
class Ending:
    """What the server (``status_reason``) and the console are told.

    The first words are those of today's agent, because other programs match them.
    """

    verdict: Verdict
    reason: str = ""
    console: str = ""

    def to_record(self) -> dict[str, Any]:
        """What was decided, for whoever reads the journal and may have other settings."""
        return {"verdict": self.verdict.value, "reason": self.reason}

    @classmethod
    def from_record(cls, data: object) -> Ending | None:
        """The ending written by ``to_record``, None when ``data`` is something else."""
        try:
            return cls(Verdict(data["verdict"]), str(data["reason"])) if isinstance(data, dict) else None
        except (KeyError, ValueError):
            return None


@attrs.frozen
class Policy:
    """What the user wants to become of tasks that end for no reason of their own.

    ``has_queue``: the task came from a queue and can be put back there; one that did not is stopped or failed.
    """

    on_shutdown: str = "stop"
    on_node_loss: str = "fail"
    on_start_failure: str = "requeue"
    has_queue: bool = False


_NOBODY_TOLD = Ending(Verdict.NONE)
_ENDINGS = {
    Cause.PREPARATION: Ending(Verdict.FAILED, "{step} failed: {detail}", "Process failed: {step}"),
    Cause.RUNNER_LOST: Ending(Verdict.FAILED, "runner lost: {detail}", "Process failed, runner lost: {detail}"),
    Cause.ABORT: Ending(Verdict.STOPPED, "task was stopped by tasks.stop", "Process aborted by user"),
    Cause.INTERRUPT: Ending(Verdict.STOPPED, "user abort", "Process terminated by user"),
    Cause.TIME_LIMIT: Ending(
        Verdict.FAILED, "time limit of {detail} s reached", "Process failed, time limit of {detail} s reached"
    ),
}
_BY_POLICY = {
    Cause.SHUTDOWN: {
        "stop": Ending(Verdict.STOPPED, "user abort: the agent was stopped", "Process terminated by user"),
        "fail": Ending(Verdict.FAILED, "the agent was stopped", "Process failed, the agent was stopped"),
        "requeue": Ending(
            Verdict.REQUEUED, "the agent was stopped", "Process terminated, the agent was stopped: back to the queue"
        ),
    },
    Cause.NODE_LOST: {
        "fail": Ending(Verdict.FAILED, "node lost: {detail}", "Process failed, node lost: {detail}"),
        "requeue": Ending(Verdict.REQUEUED, "node lost: {detail}", "Node lost, {detail}: back to the queue"),
    },
    Cause.START_REFUSED: {
        "fail": Ending(Verdict.FAILED, "start refused: {detail}", "Process failed, start refused: {detail}"),
        "requeue": Ending(Verdict.REQUEUED, "start refused: {detail}", "Start refused, {detail}: back to the queue"),
    },
}
_WITHOUT_QUEUE = {Cause.SHUTDOWN: "stop", Cause.NODE_LOST: "fail", Cause.START_REFUSED: "fail"}
_NO_QUEUE = " (it came from no queue that it could go back to)"
_STOPPED_BY_ITSELF = frozenset({-signal.SIGINT, 128 + signal.SIGINT, 254})
_STOPPED_WITH_AGENT = frozenset({Cause.SHUTDOWN, Cause.INTERRUPT})


@attrs.frozen
class Outcome:
    """The end of a run.

    ``exit_code`` is the user's process's (negative: ended by that signal), None when it never started. ``detail`` says
    more: the error of a step, or what was found. ``step`` is what was being prepared when it failed. ``begun`` is
    False when the server was not yet told that the task is in progress.
    """

    cause: Cause
    exit_code: int | None = None
    detail: str = ""
    step: str = ""
    begun: bool = True

    @classmethod
    def of_error(cls, step: str, error: AgentError) -> Outcome:
        """The outcome of a step of the preparation that raised ``error``."""
        return cls(Cause.PREPARATION, None, str(error), step)

    @classmethod
    def from_record(cls, data: object) -> Outcome | None:
        """The outcome written by ``to_record``, None when ``data`` is something else."""
        if not isinstance(data, dict):
            return None
        try:
            return cls(
                Cause(data["cause"]), data["exit_code"], data["detail"], data["step"], bool(data.get("begun", True))
            )
        except (KeyError, ValueError):
            return None

    def to_record(self) -> dict[str, Any]:
        return {**attrs.asdict(self), "cause": self.cause.value}

    @property
    def ending(self) -> Ending:
        """What to tell whom, when the user decided nothing."""
        return self.ending_by(Policy())

    def ending_by(self, policy: Policy) -> Ending:
        """What to tell whom."""
        if self.cause is Cause.EXIT:
            return self._ending_of_exit()
        ending = self._chosen(policy)
        words = {"step": self.step, "detail": self.detail}
        return attrs.evolve(ending, reason=ending.reason.format(**words), console=ending.console.format(**words))

    @property
    def shell_code(self) -> int:
        """What ``clearml-agent execute`` exits with: the task's own code, 128+n for signal n, 254 stopped, else 1."""
        if self.cause is Cause.EXIT and self.exit_code is not None:
            return self.exit_code if self.exit_code >= 0 else 128 - self.exit_code
        return 254 if self.ending.verdict is Verdict.STOPPED else 1

    def _chosen(self, policy: Policy) -> Ending:
        if not self.begun and self.cause in _STOPPED_WITH_AGENT and policy.has_queue:
            # nothing has happened to the task yet, so whatever is set for those that run, it waits again
            return _BY_POLICY[Cause.SHUTDOWN]["requeue"]
        choices = _BY_POLICY.get(self.cause)
        if choices is None:
            return _ENDINGS.get(self.cause, _NOBODY_TOLD)
        choice = {
            Cause.SHUTDOWN: policy.on_shutdown,
            Cause.NODE_LOST: policy.on_node_loss,
            Cause.START_REFUSED: policy.on_start_failure,
        }[self.cause]
        if choice != "requeue" or policy.has_queue:
            return choices[choice]
        ending = choices[_WITHOUT_QUEUE[self.cause]]
        return attrs.evolve(ending, console=ending.console + _NO_QUEUE)

    def _ending_of_exit(self) -> Ending:
        if self.exit_code == 0:
            return Ending(Verdict.COMPLETED, "worker execution done", "Process completed successfully")
        if self.exit_code in _STOPPED_BY_ITSELF:
            # SIGINT is how people end their own script: a stop, not a failure
            return Ending(Verdict.STOPPED, "user abort", "Process terminated by user")
        why = f" ({self.detail})" if self.detail else ""
        code = f"exit code {self.exit_code}{_signal_words(self.exit_code)}{why}"
        return Ending(Verdict.FAILED, f"worker execution {code}", f"Process failed, {code}")


def _signal_words(code: int | None) -> str:
    if code is None or code >= 0:
        return ""
    try:
        return f" (ended by {signal.Signals(-code).name})"
    except ValueError:
        return f" (ended by signal {-code})"
