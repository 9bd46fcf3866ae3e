"""How fast console lines reach the server, whether all of them do, in order, and what that costs."""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from collections.abc import Callable

import attrs

from benchmarks.contender import Daemon
from benchmarks.load import cpu_seconds
from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, Target, at_most, times_faster

_LINE = re.compile(r"^bench (\d{6,})$", re.MULTILINE)
_ROUNDS = 3
_WARM_UP = 3.0


@attrs.frozen
class _Case:
    """A script that prints numbered lines: how many, and the mark of the moment at which it begins to."""

    script: str
    lines: int
    begin: str


@attrs.define
class _Result:
    """What came of one agent's runs of a case."""

    values: list[float] = attrs.Factory(list)
    faults: list[str] = attrs.Factory(list)

    @property
    def samples(self) -> Samples:
        return Samples.of(self.values)


def console(rig: Rig) -> list[Row]:
    """A million lines at once, lines as fast as Python prints them, and a thousand lines a second."""
    options = rig.options
    rounds = min(_ROUNDS, options.rounds)
    printed = _Case("console.py", options.lines, "first")
    flood = _Case("flood.py", options.flood_lines, "flood")
    steady = _Case("steady.py", 1000 * options.steady_seconds, "first")
    return [
        _speed_row(rig, f"console, {printed.lines:,} lines from print", printed, rounds, bare=True),
        _speed_row(rig, f"console, {flood.lines:,} lines written at once", flood, rounds, times_faster(5)),
        _cpu_row(rig, steady),
    ]


def _speed_row(rig: Rig, name: str, case: _Case, rounds: int, *targets: Target, bare: bool = False) -> Row:
    results = _results(rig, rounds, lambda daemon: _run(rig, daemon, case))
    return Row(
        name,
        "lines/s",
        ours=results["ours"].samples,
        peer=results["peer"].samples if "peer" in results else None,
        floor=_bare(rig, rounds) if bare else None,
        floor_is="the same script writing to a file" if bare else "",
        more_is_better=True,
        targets=(_complete(results), *targets),
        notes=_notes(results),
    )


def _cpu_row(rig: Rig, case: _Case) -> Row:
    results = _results(rig, 1, lambda daemon: _load(rig, daemon, case))
    return Row(
        "console, CPU of the agent while a task prints 1,000 lines/s",
        "% of a core",
        ours=results["ours"].samples,
        peer=results["peer"].samples if "peer" in results else None,
        targets=(_complete(results), at_most(5, "% of a core")),
        notes=_notes(results),
    )


def _results(rig: Rig, rounds: int, run: Callable[[Daemon], tuple[float, str]]) -> dict[str, _Result]:
    results = {one.name: _Result() for one in rig.contenders}
    with rig.daemons() as daemons:
        for _ in range(rounds):
            for name, daemon in daemons.items():
                value, fault = run(daemon)
                results[name].values.append(value)
                if fault:
                    results[name].faults.append(fault)
    return results


def _complete(results: dict[str, _Result]) -> Target:
    return Target("complete, in order", lambda _: not results["ours"].faults)


def _notes(results: dict[str, _Result]) -> tuple[str, ...]:
    return tuple(
        f"{name}: {', '.join(result.faults) or 'every line arrived, in order'}." for name, result in results.items()
    )


def _run(rig: Rig, daemon: Daemon, case: _Case) -> tuple[float, str]:
    """Lines per second from the first one printed to the last one on the server."""
    task = rig.create(case.script)
    rig.enqueue(task, daemon.queue)
    first = rig.mark(task, case.begin)
    arrived = _wait_for_last(rig, task, case)
    rig.final(task)
    return case.lines / (arrived - first), fault_of(_read(rig, task), case.lines)


def _load(rig: Rig, daemon: Daemon, case: _Case) -> tuple[float, str]:
    """CPU of all the agent's processes, without the user's, in per cent of a core."""
    task = rig.create(case.script)
    rig.enqueue(task, daemon.queue)
    rig.mark(task, "first")
    user = int(rig.mark(task, "pid"))
    time.sleep(_WARM_UP)
    before, started = cpu_seconds(daemon.tree(), without=user), time.monotonic()
    time.sleep(rig.options.steady_seconds - 2 * _WARM_UP)
    after, seconds = cpu_seconds(daemon.tree(), without=user), time.monotonic() - started
    rig.final(task)
    return 100 * (after - before) / seconds, fault_of(_read(rig, task), case.lines)


def _wait_for_last(rig: Rig, task: str, case: _Case) -> float:
    """The time at which the last line was on the server, or at which the task had ended without it."""
    last = f"bench {case.lines - 1:06d}"
    ended = False
    while True:
        newest = rig.watcher.call("events.get_task_log", task=task, batch_size=2, order="desc")["events"]
        now = time.time()
        if ended or any(last in event["msg"] for event in newest):
            return now
        ended = rig.watcher.task(task, "status")["status"] not in {"queued", "in_progress"}
        time.sleep(0.02)


def _read(rig: Rig, task: str) -> list[int]:
    """The numbers of all lines, in the order in which the server tells them."""
    numbers: list[int] = []
    scroll = None
    while True:
        body = {"task": task, "batch_size": 1000, "event_type": "log", "order": "asc"}
        page = rig.watcher.call("events.get_task_events", **body, **({"scroll_id": scroll} if scroll else {}))
        scroll = page.get("scroll_id")
        if not page["events"]:
            return numbers
        for event in page["events"]:
            numbers += [int(number) for number in _LINE.findall(event["msg"])]


def fault_of(numbers: list[int], lines: int) -> str:
    """What is wrong with the ``numbers`` of the lines that arrived, of ``lines`` printed; empty when nothing is."""
    lost = lines - len(set(numbers))
    twice = len(numbers) - len(set(numbers))
    disorder = sum(1 for before, after in itertools.pairwise(numbers) if after <= before)
    faults = ((lost, "missing or broken"), (twice, "doubled"), (disorder, "out of order"))
    return " and ".join(f"{count} {what}" for count, what in faults if count)


def _bare(rig: Rig, rounds: int) -> Samples:
    values = []
    for number in range(rounds):
        target = rig.options.folder / "bare-console.txt"
        with target.open("wb") as file:
            started = time.perf_counter()
            subprocess.run(
                [rig.ours.python, "-u", rig.repository / "console.py"],
                env={**rig.ours.environ(), "CLEARML_TASK_ID": f"bare-console-{number}"},
                stdout=file,
                check=True,
            )
            values.append(rig.options.lines / (time.perf_counter() - started))
    return Samples.of(values)
