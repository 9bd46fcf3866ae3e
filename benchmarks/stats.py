"""Samples, and the rows of the table they end up in."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from typing import Any

import attrs


@attrs.frozen
class Samples:
    """Measured values of one quantity."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Samples:
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@attrs.frozen
class Target:
    """What the row should reach. ``reached`` gives None where the run has no figures to judge by."""

    text: str
    reached: Callable[[Row], bool | None]


@attrs.frozen
class Row:
    """One line of the table: a quantity, in turn for the floor, the peer and this agent.

    ``floor`` is what no agent can beat, such as the bare ``python script.py``. ``more_is_better`` turns the ratio
    round, so that a ratio above one always speaks for this agent.
    """

    name: str
    unit: str
    ours: Samples | None = None
    peer: Samples | None = None
    floor: Samples | None = None
    floor_is: str = ""
    more_is_better: bool = False
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ratio(self) -> float | None:
        """How many times better this agent is than the peer."""
        if self.ours is None or self.peer is None:
            return None
        better, worse = (self.peer, self.ours) if self.more_is_better else (self.ours, self.peer)
        return worse.median / better.median if better.median else None

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            **{who: _values(getattr(self, who)) for who in ("ours", "peer", "floor")},
            "floor_is": self.floor_is,
            "ratio": self.ratio,
            "targets": [{"text": target.text, "reached": target.reached(self)} for target in self.targets],
            "notes": list(self.notes),
        }


def times_faster(factor: float) -> Target:
    """At least ``factor`` times better than the peer in the same run."""
    return Target(f"≥ {factor:g} times the peer", lambda row: None if row.ratio is None else row.ratio >= factor)


def above_floor(margin: float, unit: str = "s") -> Target:
    """At most ``margin`` more than the floor measured in the same run."""

    def reached(row: Row) -> bool | None:
        return None if row.ours is None or row.floor is None else row.ours.median - row.floor.median <= margin

    return Target(f"≤ floor + {margin:g} {unit}", reached)


def within_floor(factor: float) -> Target:
    """At most ``factor`` times the floor measured in the same run."""

    def reached(row: Row) -> bool | None:
        return None if row.ours is None or row.floor is None else row.ours.median <= factor * row.floor.median

    return Target(f"≤ {factor:g} times the floor", reached)


def at_most(limit: float, unit: str) -> Target:
    """At most ``limit``, whatever the machine."""
    return Target(f"≤ {limit:g} {unit}", lambda row: None if row.ours is None else row.ours.median <= limit)


def _values(samples: Samples | None) -> dict[str, Any] | None:
    if samples is None:
        return None
    return {"median": samples.median, "min": samples.low, "max": samples.high, "values": list(samples.values)}
