"""The page ``docs/crash-matrix.md``, from the points as they are run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.crash.lives import ENDS
from tests.crash.points import Point, calls, known_events, points

PAGE = Path(__file__).parents[2] / "docs" / "crash-matrix.md"

_INTRODUCTION = """\
# Crash matrix

The agent is killed with SIGKILL at every point of a task's life at which it writes something down or talks to the
server. `make test-crash` does it; the points on this page are those that the tests run, and a test fails when the agent
comes by a point that is not listed here (`python -m tests.crash.record` writes the list and this page anew).

How it is done: the tests put a folder on the agent's `PYTHONPATH` whose `sitecustomize.py` wraps `os.replace`,
`os.mkdir`, `os.fork`, the start of processes, HTTP requests and so on. There is no hook in the agent. A supervisor in
the test starts a dead daemon again, as systemd would. A second task waits behind the one that is crashed into.

## What must hold

After each crash, whoever was killed:

- The task comes to its end by itself, and to the right one: completed, its own exit code, aborted. A task whose runner
  died while it was being prepared, before its code ran, may fail with the reason `runner lost: …`; one whose exit code
  nobody lives to know (the runner's keeper was killed) fails with a reason. Nothing else.
- Its code was started exactly once, or not at all when it failed with such a reason.
- Each line that it printed is in its console once and in order, and so are the lines of the agent.
- The task behind it runs afterwards on the same worker, and not before: the slot was neither lost nor given away.
- No process is left but the daemon and its nursery, no folder of a run, no half-written file that the daemon's
  housekeeping would not clear away, and no file that others may read.

`daemon`, `nursery` (forks runners), `runner` (one per task) and `keeper` (starts the task's process and learns its exit
code) are the agent's processes; `all` are the first three at once. Points in the column *more* come to nearly the same
moments again; `make test-crash-all` runs them too.
"""

_LIVES = {
    "warm": "A task from queue to completed, its environment being there already",
    "cold": "What is added by a git repository with a change, without mirror or environment",
    "start": "The daemon's first start on a machine",
    "stop": "The daemon's stop while it is idle",
    "abort": "A running task is aborted; promised: `{}`",
    "failing": "A task exits with a code; promised: `{}`",
    "unprepared": "A task cannot be prepared; promised: `{}…`",
    "leaving": "The daemon is stopped while a task runs; promised: `{}`",
}

_CALLS = """\
## Calls

Each call of daemon and runner is lost on its way to the server (the request never arrives) and on its way back (the
server has acted, the answer never arrives) while nobody dies, and on its way back while the caller or all die: {} cases,
besides the points above (`call …`), where the caller dies before it asks and with the answer in its hands.

{}

On a server without our extensions (no claims, no waiting) the request of the poll is lost in the same ways, and the
answer with a task in it; the task is then found in no queue, and put back, after a minute.
"""


def page() -> str:
    """The whole page."""
    by_life: dict[str, list[Point]] = {}
    for point in points():
        by_life.setdefault(point.life, []).append(point)
    always = sum(point.core for point in points())
    lost = len(calls()) * 4
    parts = [_INTRODUCTION, f"{always + lost} points are run every time, {len(points()) - always} more on demand.\n"]
    for life, title in _LIVES.items():
        parts.append(f"## {title.format(ENDS.get(life, ''))}\n")
        parts.append("\n".join(_table(life, by_life.get(life, []))) + "\n")
    listed = "\n".join(f"- {role}: `{endpoint}`" for role, endpoint in calls())
    parts.append(_CALLS.format(lost, listed))
    return "\n".join(parts)


def _table(life: str, found: list[Point]) -> Iterator[str]:
    yield "| who | at | killed before | killed after | more |"
    yield "|---|---|---|---|---|"
    for event in known_events():
        own = [point for point in found if (point.role, point.event) == (event.role, event.name)]
        if event.life == life:
            more = sum(not point.core for point in own)
            yield f"| {event.role} | `{event.name}` | {_who(own, 'before')} | {_who(own, 'after')} | {more or ''} |"


def _who(found: list[Point], when: str) -> str:
    words: list[str] = []
    for point in found:
        if point.core and point.when == when:
            name = "all" if len(point.kill) == 3 else " and ".join(point.kill) if len(point.kill) < 3 else "all, keeper"
            words.append(name if point.nth == 1 else f"{name} ({point.nth}th time)")
    return ", ".join(dict.fromkeys(words))
