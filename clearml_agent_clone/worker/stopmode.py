"""In which ways a daemon ends."""

from __future__ import annotations

import enum


class StopMode(enum.Enum):
    """How a daemon ends. DRAIN lets what runs finish, STOP ends it gracefully, NOW kills it."""

    DRAIN = "drain"
    STOP = "stop"
    NOW = "now"

    @property
    def rank(self) -> int:
        """The higher, the less patient; a stop that is under way becomes only less patient."""
        return list(StopMode).index(self)
