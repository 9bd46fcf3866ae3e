"""The points of the crash matrix: which moment of which life, and who is killed then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

EVENTS = Path(__file__).with_name("events.txt")
AGENT = ("daemon", "nursery", "runner")
EVERYBODY = (*AGENT, "keeper")

_OFTEN = 6
_FINE = ("fsync ", "ftruncate ", "mkdir runs/RUN/code/repository/.git", "create ")
"""Events whose neighbours are points as well and differ only for a power cut, or not at all."""
_FLOWING = ("call events.add_batch", "replace runs/RUN/logs/console.shipped=sending")
"""The third time the task's own lines are on their way."""
_MILESTONES = ("replace ", "rename ", "call ", "fork", "kill", "start the task", "create runs/RUN/logs/console.spool")


@attrs.frozen
class Event:
    """Something that a process of ``role`` does ``times`` times in a ``life``."""

    life: str
    role: str
    name: str
    times: int

    @property
    def line(self) -> str:
        return f"{self.life}\t{self.role}\t{self.times}\t{self.name}"

    @classmethod
    def parse(cls, line: str) -> Event:
        life, role, times, name = line.split("\t")
        return cls(life, role, name, int(times))


@attrs.frozen
class Point:
    """The ``nth`` time that a process of ``role`` comes to ``when`` (before, after) ``event``: ``kill`` is killed."""

    life: str
    role: str
    when: str
    event: str
    kill: tuple[str, ...]
    nth: int = 1
    core: bool = True

    def __str__(self) -> str:
        times = "" if self.nth == 1 else f" #{self.nth}"
        return f"{self.life}: {self.role} {self.when} {self.event}{times}, killed: {' '.join(self.kill)}"


def known_events() -> list[Event]:
    """The events of all lives, as they were recorded last."""
    return [Event.parse(line) for line in EVENTS.read_text().splitlines() if line]


def points() -> list[Point]:
    """The matrix: before and after each event, for the process that does it alone and for all of the agent at once.

    ``core`` ones are run every time; the others come to nearly the same moments once more.
    """
    return [point for event in known_events() for point in _points_of(event)]


def _points_of(event: Event) -> Iterator[Point]:
    fine = event.name.startswith(_FINE) and not event.name.startswith(_MILESTONES)
    for nth in _turns(event):
        for when in ("before", "after"):
            for kill in _targets(event):
                alone = kill == (event.role,)
                together = kill == AGENT and when == "after" and event.name.startswith(_MILESTONES)
                with_keeper = event.role == "keeper" and (kill == ("runner",) or when == "after")
                core = not fine and (alone or together or with_keeper)
                if event.life == "cold":
                    core = core and alone and when == "after"  # before one thing is after another
                yield Point(event.life, event.role, when, event.name, kill, nth, core)


def _targets(event: Event) -> list[tuple[str, ...]]:
    if event.life in {"start", "stop"}:
        return [("daemon",)]
    if event.life not in {"warm", "cold"}:
        return [(event.role,), AGENT]
    if event.role == "daemon":
        return [("daemon",), AGENT]
    if event.role == "keeper":
        return [("keeper",), ("runner",), ("runner", "keeper"), EVERYBODY]
    return [(event.role,), AGENT, ("daemon",)]


def _turns(event: Event) -> list[int]:
    if event.times <= 1:
        return [1]
    if event.times <= _OFTEN and event.name.startswith(("write ", "create ", "fsync ")):
        return list(range(1, event.times + 1))
    if event.name in _FLOWING:
        return [1, 3]
    return [1, 8] if event.times > 2 * _OFTEN else [1]


def calls() -> list[tuple[str, str]]:
    """Role and endpoint of every call in a task's life."""
    found = [event for event in known_events() if event.life in {"warm", "cold"} and event.name.startswith("call ")]
    return sorted({(event.role, event.name.removeprefix("call ")) for event in found})
