"""Which metrics and variants a client asks for, as a condition of SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.server import fields


@attrs.frozen
class Selection:
    """Metrics, each with the variants wanted of it; no variants means all of them, no metrics means everything."""

    metrics: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, asked: Iterable[Mapping[str, Any]]) -> Selection:
        """The selection in ``[{metric, variants}, …]``; an entry without a metric asks for everything."""
        found = tuple((fields.text(item, "metric"), tuple(fields.texts(item, "variants"))) for item in asked)
        return cls(() if any(not metric for metric, _ in found) else found)

    @property
    def sql(self) -> str:
        """A condition that begins with ``AND``, or nothing."""
        if not self.metrics:
            return ""
        either = []
        for _, variants in self.metrics:
            marks = ", ".join("?" * len(variants))
            either.append(f"(metric = ? AND variant IN ({marks}))" if variants else "metric = ?")
        return f" AND ({' OR '.join(either)})"

    @property
    def values(self) -> tuple[str, ...]:
        """The values for the condition's marks."""
        return tuple(value for metric, variants in self.metrics for value in (metric, *variants))


EVERYTHING = Selection()
