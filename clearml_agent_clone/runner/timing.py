"""The timing line at the start of every task's code: where the seconds went, and what was reused."""

from __future__ import annotations

import attrs


@attrs.define
class Timing:
    """Seconds from the queue to the first line of the user's code.

    ``queued`` is None for a task that was in no queue, or whose server clock runs ahead of ours.
    """

    queued: float | None = None
    source: float = 0.0
    environment: float = 0.0
    total: float = 0.0
    source_reused: tuple[str, ...] = ()
    environment_reused: bool = False

    @property
    def start(self) -> float:
        """All that is neither source nor environment: starting the runner, calls to the server, the process itself."""
        return max(0.0, self.total - self.source - self.environment)

    def line(self) -> str:
        """The line, e.g. ``Timing: queue 0.01 s, source 0.12 s (reused: mirror), environment 0.00 s (reused), …``."""
        parts = [] if self.queued is None else [f"queue {self.queued:.2f} s"]
        parts.append(f"source {self.source:.2f} s{_reused(', '.join(self.source_reused))}")
        parts.append(f"environment {self.environment:.2f} s{' (reused)' if self.environment_reused else ''}")
        parts.append(f"start {self.start:.2f} s")
        parts.append(f"in all {(self.queued or 0.0) + self.total:.2f} s")
        return "Timing: " + ", ".join(parts)


def _reused(what: str) -> str:
    return f" (reused: {what})" if what else ""
