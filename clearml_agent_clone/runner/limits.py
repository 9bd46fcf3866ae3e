"""What a task may take and how it is stopped: the agent's settings, and what the task itself asks for.

A user sets the task's part as *user properties* (``Task.set_user_properties(max_task_seconds=3600)``, or in the web
page under Configuration): ``abort_grace_sec``, ``max_task_seconds``, ``abort_signal``.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.config.settings_agent import AgentSettings
from clearml_agent_clone.launch.running import Manner
from clearml_agent_clone.runner.outcome import Cause
from clearml_agent_clone.runner.stop import StopRequest

SECTION = "properties"
_LONGEST_LOOK = 3600.0


@attrs.frozen
class Limits:
    """Decided once, before the process starts, and written down for a runner that takes over.

    ``seconds`` is the longest time that the user's process may run, 0 without limit.
    """

    grace: float
    seconds: float = 0.0
    first: int = signal.SIGTERM

    @classmethod
    def decide(cls, properties: Mapping[str, str], agent: AgentSettings, complain: Callable[[str], None]) -> Limits:
        """The limits of a task.

        The agent's time limit is a ceiling: a task may ask for less, not for more. The time to end is the task's
        choice, as long as it is no longer than what abort callbacks may take on this agent.

        Args:
            properties: the task's user properties.
            agent: the agent's settings.
            complain: gets a line for each property that cannot be used.
        """
        asked = _number(properties, "max_task_seconds", complain)
        limits = [limit for limit in (agent.max_task_seconds, asked or 0.0) if limit > 0]
        grace = _number(properties, "abort_grace_sec", complain)
        longest = max(agent.abort_grace_sec, agent.abort_callback_max_timeout)
        name = properties.get("abort_signal", "").strip()
        first = _signal(agent.abort_signal)
        if name:
            try:
                first = _signal(name)
            except KeyError:
                complain(f'user property abort_signal "{name}" is not a signal, {agent.abort_signal} is used')
        return cls(
            agent.abort_grace_sec if grace is None else min(grace, longest), min(limits) if limits else 0.0, first
        )

    @classmethod
    def from_record(cls, data: object, agent: AgentSettings) -> Limits:
        """Those that ``to_record`` wrote, the agent's own when it did not."""
        if isinstance(data, dict):
            try:
                return cls(float(data["grace"]), float(data["seconds"]), int(data["first"]))
            except (KeyError, TypeError, ValueError):
                pass  # written by another version; the agent's own limits are good enough
        return cls.decide({}, agent, lambda _: None)

    def to_record(self) -> dict[str, Any]:
        return attrs.asdict(self)

    @property
    def manner(self) -> Manner:
        """How the task's processes are ended."""
        return Manner(self.grace, self.first)


class TimeLimit:
    """Asks for the end when the user's process has run long enough.

    Args:
        seconds: how long that is.
        age: seconds since the process was started, by whichever runner.
        on_stop: takes the request.
    """

    name = "time-limit"

    def __init__(self, seconds: float, age: Callable[[], float], on_stop: Callable[[StopRequest], None]) -> None:
        self._seconds = seconds
        self._age = age
        self._on_stop = on_stop

    def step(self, now: float) -> float:
        """Look once; returns when to look again."""
        del now
        left = self._seconds - self._age()
        if left > 0:
            return min(left, _LONGEST_LOOK)
        shown = f"{self._seconds:g}"
        self._on_stop(StopRequest(Cause.TIME_LIMIT, shown, announced=f"Time limit of {shown} s reached: stopping task"))
        return _LONGEST_LOOK


def _number(properties: Mapping[str, str], name: str, complain: Callable[[str], None]) -> float | None:
    text = properties.get(name, "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        complain(f'user property {name} "{text}" is not a number of seconds, it is ignored')
        return None
    return value


def _signal(name: str) -> int:
    """The number of a signal that a process can answer. Raises ``KeyError`` for anything else."""
    upper = name.upper()
    found = signal.Signals[upper if upper.startswith("SIG") else f"SIG{upper}"]
    if found in {signal.SIGKILL, signal.SIGSTOP}:
        raise KeyError(name)
    return int(found)
