"""How `make test-all` shares the cores: tests that wait run next to tests that work, and the longest begin first.

Half of the tests mostly wait (for a grace to pass, for a server that is away), the others keep a core busy. Run one kind
after the other, cores stand idle, or processes queue for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest

_ONE_BY_ONE = re.compile(r"tests/(crash|integration(/outages)?)/[^/]+\.py::")
_LONG = 120.0


def unit_of(nodeid: str) -> str:
    """What goes to one worker as a whole: a test of a folder where each has its own agent, elsewhere a file.

    The flows start other daemons for each agent that they ask, so those of one agent stay together too.
    """
    if _ONE_BY_ONE.match(nodeid):
        return nodeid
    file = nodeid.partition("::")[0]
    return f"{file} peer" if "[peer" in nodeid else file


def mixed(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """``items`` in the order in which they are best begun."""
    units: dict[str, list[pytest.Item]] = {}
    for item in items:
        units.setdefault(unit_of(item.nodeid), []).append(item)
    waiting = sorted((unit for unit in units.values() if _rank(unit) > 0), key=_rank, reverse=True)
    working = [unit for unit in units.values() if _rank(unit) == 0]
    placed = [(place / len(kind), unit) for kind in (waiting, working) for place, unit in enumerate(kind)]
    return [item for _, unit in sorted(placed, key=lambda found: found[0]) for item in unit]


def scheduler(config: pytest.Config, log: Any) -> Any:
    """An xdist scheduler that hands out units in the order of ``mixed``."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it has no types

    class Mixing(LoadScopeScheduling):  # type: ignore[misc]  # as above
        def _split_scope(self, nodeid: str) -> str:
            return unit_of(nodeid)

    config.option.loadscopereorder = False
    return Mixing(config, log)


def _rank(unit: list[pytest.Item]) -> int:
    """0 for what keeps a core busy, more for what waits, most for what waits longest."""
    return max(map(_rank_of, unit))


def _rank_of(item: pytest.Item) -> int:
    if item.get_closest_marker("peer"):
        return 3
    if not item.get_closest_marker("slow"):
        return 0
    limit = item.get_closest_marker("timeout")
    return 2 if limit is not None and limit.args and limit.args[0] > _LONG else 1
