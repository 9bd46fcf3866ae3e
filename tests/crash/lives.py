"""The lives that are crashed into: what is done from the queue to the last status, and the events that it has."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.crash.points import Event
from tests.crash.yard import Yard
from tests.helpers.worker_tools import until

_UNSTEADY = ("/uv/TMP", "/link-N", "interpreters.json", "start python", "kill", "poll.json", "mkdir .clearml/agent")
"""Parts of events that are not in every life: of helper libraries, of caches, of races that are meant to be there."""


def warm(yard: Yard) -> tuple[str, str]:
    """A task whose code stands in it, in an environment that is there already; another waits behind it."""
    return yard.task(), yard.task(lines=1)


def cold(yard: Yard) -> tuple[str, str]:
    """A task from a git repository with a change on top; neither mirror nor environment are there."""
    repository = yard.folder / "repository"
    if not repository.exists():
        make_repository(repository, yard.code())
    for name in ("venvs-cache", "vcs-cache"):
        shutil.rmtree(yard.agent.home / ".clearml" / name, ignore_errors=True)
    change = "--- a/used.py\n+++ b/used.py\n@@ -1 +1 @@\n-VALUE = 1\n+VALUE = 2\n"
    first = yard.task(diff=change, repository=f"file://{repository}", branch="main", entry_point="life.py")
    return first, yard.task(lines=1)


def make_repository(folder: Path, code: str) -> None:
    folder.mkdir()
    _git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "used.py").write_text("VALUE = 1\n")
    (folder / "life.py").write_text(code)
    _git(folder, "add", ".")
    _git(folder, "commit", "--quiet", "--message", "first")


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)


def begin(yard: Yard) -> None:
    """The daemon's first start on a machine that never saw one."""
    yard.stop()
    yard.gone()
    shutil.rmtree(yard.agent.home / ".clearml" / "agent")


def stop(yard: Yard) -> None:
    """The daemon is stopped while it is idle."""
    yard.stop(signal.SIGINT)
    yard.gone()


def lived(yard: Yard, prepare: Callable[[Yard], tuple[str, str]]) -> Counter[tuple[str, str]]:
    """The events of one undisturbed life, without ``before`` and ``after``, and how often each comes in one process."""
    first, second = prepare(yard)
    yard.forget()
    yard.enqueue(first)
    (seen,) = yard.final(first)
    assert seen["status"] == "completed", seen["status_reason"]
    left = yard.settled()
    assert not left, left
    found = _counted(yard.trace())
    yard.enqueue(second)
    yard.final(second)
    return found


ENDS = {
    "abort": "stopped: task was stopped by tasks.stop",
    "failing": "failed: worker execution exit code 3",
    "unprepared": "failed: source failed: ",
    "leaving": "stopped: user abort: the agent was stopped",
}
"""Lives that end in another way, and how: aborted while it runs; by an exit code; in the preparation; because the agent
is stopped, by its user, while it runs."""


def begun(yard: Yard, life: str, before_end: Callable[[], object]) -> str:
    """A task that has come to the moment from which on its life is another one; ``before_end`` is called then."""
    if life == "failing":
        task = yard.task(lines=20, code=3)
        before_end()
        yard.enqueue(task)
    elif life == "unprepared":
        task = yard.task(entry_point="missing.py", diff="", repository="file:///nowhere/at/all")
        before_end()
        yard.enqueue(task)
    else:
        task = yard.task(lines=100_000, pause=0.01)
        yard.enqueue(task)
        yard.printing(task)
        before_end()
        if life == "abort":
            yard.agent.server.call("tasks.stop", task=task)
        else:
            yard.stop(signal.SIGINT)
    return task


def ending(yard: Yard, life: str) -> Counter[tuple[str, str]]:
    """The events of such an end."""
    task = begun(yard, life, yard.forget)
    (seen,) = yard.final(task)
    assert f"{seen['status']}: {seen['status_reason']}".startswith(ENDS[life]), seen["status_reason"]
    if life == "leaving":
        yard.gone()
        found = _counted(yard.trace())
        yard.up()
        return Counter({event: times for event, times in found.items() if event[0] in {"runner", "keeper"}})
    left = yard.settled()
    assert not left, left
    found = _counted(yard.trace())
    if life in {"failing", "unprepared"}:
        last = ("state.json=finishing", "state.json=done", "call tasks.failed", "write runs/RUN/exit", "remarks")
        return Counter({event: times for event, times in found.items() if event[1].endswith(last)})
    return Counter({event: times for event, times in found.items() if event[0] in {"runner", "keeper"}})


def recorded(yard: Yard) -> list[Event]:
    """The events of each life; those that the warm life has are left out of the later ones."""
    yard.up()
    warmth = yard.task(lines=1)
    yard.enqueue(warmth)
    yard.final(warmth)
    begin(yard)
    yard.forget()
    yard.up()
    until(lambda: ("daemon", "before call queues.get_next_task") in yard.trace())
    found = {"start": _counted(yard.trace())}
    lived(yard, warm)  # fills what is kept for all lives
    found["warm"] = lived(yard, warm)
    found["cold"] = lived(yard, cold)
    for life in ENDS:
        found[life] = ending(yard, life)
    yard.forget()
    stop(yard)
    found["stop"] = _counted(yard.trace())
    return [
        Event(life, role, name, times)
        for life, events in found.items()
        for (role, name), times in sorted(events.items())
        if life in {"start", "warm", *ENDS} or (role, name) not in found["warm"]
    ]


def _counted(trace: list[tuple[str, str]]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for role, event in trace:
        if event.startswith("before ") and not any(part in event for part in _UNSTEADY):
            counts[role, event.removeprefix("before ")] += 1
    return counts
