"""Tell bugs from what goes wrong every day."""

from __future__ import annotations

from collections.abc import Callable

from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.util.loops import Loop


class Reporting:
    """A loop that tells of errors that are bugs, for ``agent.crash_on_exception``."""

    def __init__(self, loop: Loop, on_bug: Callable[[Exception], None]) -> None:
        self.name = loop.name
        self._loop = loop
        self._on_bug = on_bug

    def step(self, now: float) -> float:
        """Do the loop's step."""
        try:
            return self._loop.step(now)
        except AgentError:
            raise
        except Exception as error:
            self._on_bug(error)
            raise
