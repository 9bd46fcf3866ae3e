"""The agent's errors, told apart by what the caller should do with them.

``UserError``   something the user wrote or set up is wrong: show one line and a remedy, exit 1.
``Retryable``   the world is away for a moment: wait and try again.
``Fatal``       trying again will not help and nobody at the keyboard did wrong: stop this piece of work.

The module imports nothing of the package, so that every room may use it without a cycle.
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of every error that the agent raises on purpose.

    Args:
        message: one line that names the field, the value and what is wrong with it; no trailing full stop.
        remedy: what the reader can do about it, as one sentence or two; empty when there is nothing to do.
        code: a stable word such as ``queue-not-found`` that scripts and tests may match; never changes its meaning.
    """

    default_code = "error"

    again_in: float | None = None
    """Seconds after which trying again makes sense, where that is known."""

    told = False
    """Somebody has put it into the log for all who meet it."""

    def __init__(self, message: str, *, remedy: str = "", code: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.code = code or self.default_code

    def __str__(self) -> str:
        """The message and its remedy on one line."""
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class UserError(AgentError):
    """Wrong input, wrong configuration, or a task that cannot be run as it is recorded."""

    default_code = "user-error"


class Retryable(AgentError):  # noqa: N818 - named by what to do with it
    """A fault that may be gone in a moment: server unreachable, 5xx, lock held, disk full."""

    default_code = "retryable"


class Fatal(AgentError):  # noqa: N818 - named by what to do with it
    """A fault that repeating will not cure."""

    default_code = "fatal"


class Cancelled(AgentError):  # noqa: N818 - it is not an error but a reason to stop
    """Work was given up because somebody asked for it: an abort, a stop of the daemon, a time limit."""

    default_code = "cancelled"

    def __init__(self, message: str = "cancelled") -> None:
        super().__init__(message)
