"""How the mirrors of a worker are filled."""

from __future__ import annotations

import attrs


@attrs.frozen
class Habits:
    """How a mirror is filled.

    Args:
        fetch_args: further arguments for ``git fetch``.
        depth: commits of history that are fetched; 0 for all.
        filter: of a partial clone, or empty.
        attempts: how often a transfer is tried when the network fails in its midst.
        clone_on_fail: clone again when a fetch fails for a reason that lies in the mirror.
        verbose: show more of what git does.
    """

    fetch_args: tuple[str, ...] = ()
    depth: int = 0
    filter: str = ""
    attempts: int = 3
    clone_on_fail: bool = False
    verbose: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Options that ``git clone`` and ``git fetch`` share."""
        depth = (f"--depth={self.depth}",) if self.depth else ()
        return (*depth, *(("--verbose",) if self.verbose else ()), "--progress")
