"""How fast console lines reach the server, and whether all of them do, in order."""

from __future__ import annotations

import itertools
import re
import subprocess
import time

from benchmarks.contender import Daemon
from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, Target

_LINE = re.compile(r"^bench (\d{6})$", re.MULTILINE)
_ROUNDS = 3


def console(rig: Rig) -> list[Row]:
    lines = rig.options.lines
    speeds: dict[str, list[float]] = {one.name: [] for one in rig.contenders}
    faults: dict[str, list[str]] = {one.name: [] for one in rig.contenders}
    with rig.daemons() as daemons:
        for _ in range(min(_ROUNDS, rig.options.rounds)):
            for name, daemon in daemons.items():
                seconds, fault = _run(rig, daemon)
                speeds[name].append(lines / seconds)
                if fault:
                    faults[name].append(fault)
    notes = [f"{name}: {', '.join(found) or 'every line arrived, in order'}." for name, found in faults.items()]
    return [
        Row(
            f"console, {lines:,} short lines",
            "lines/s",
            ours=Samples.of(speeds["ours"]),
            peer=Samples.of(speeds["peer"]) if "peer" in speeds else None,
            floor=_bare(rig),
            floor_is="the same script writing to a file",
            more_is_better=True,
            targets=(Target("complete, in order", lambda _: not faults["ours"]),),
            notes=tuple(notes),
        )
    ]


def _run(rig: Rig, daemon: Daemon) -> tuple[float, str]:
    task = rig.create("console.py")
    rig.enqueue(task, daemon.queue)
    first = rig.mark(task, "first")
    arrived = _wait_for_last(rig, task)
    rig.final(task)
    return arrived - first, fault_of(_read(rig, task), rig.options.lines)


def _wait_for_last(rig: Rig, task: str) -> float:
    """The time at which the last line was on the server, or at which the task had ended without it."""
    last = f"bench {rig.options.lines - 1:06d}"
    ended = False
    while True:
        newest = rig.watcher.call("events.get_task_log", task=task, batch_size=5, order="desc")["events"]
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


def _bare(rig: Rig) -> Samples:
    values = []
    for number in range(min(_ROUNDS, rig.options.rounds)):
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
