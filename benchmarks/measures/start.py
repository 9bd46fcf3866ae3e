"""From ``tasks.enqueue`` to the first line of user code, and from its last line to the final status."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

from uv import find_uv_bin

from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, above_floor, at_most, times_faster

_POLL_OF_PEER = 5.0
_PACKAGES = Path(__file__).resolve().parent.parent / "requirements-47.txt"


def nothing_to_install(rig: Rig) -> list[Row]:
    """A git repository, an interpreter and no packages."""
    first, last = _run(rig, "plain.py", "")
    return [
        Row(
            "enqueue → first line, no packages",
            "s",
            ours=first["ours"],
            peer=first.get("peer"),
            floor=rig.bare("plain.py", rig.options.rounds),
            floor_is="the bare `python script.py`",
            targets=(times_faster(20), above_floor(0.5)),
        ),
        Row(
            "last line → final status",
            "s",
            ours=last["ours"],
            peer=last.get("peer"),
            floor=rig.round_trips(),
            floor_is="one HTTP round trip",
            targets=(at_most(0.3, "s"),),
        ),
    ]


def cached_packages(rig: Rig) -> list[Row]:
    """47 pinned packages, all caches warm: one run of each agent goes before the counted ones."""
    first, _ = _run(rig, "packages.py", _PACKAGES.read_text())
    return [
        Row(
            "enqueue → first line, 47 packages cached",
            "s",
            ours=first["ours"],
            peer=first.get("peer"),
            floor=_bare_sync(rig),
            floor_is="the bare `uv pip sync` of the same list from a warm cache into an empty environment",
        )
    ]


def _run(rig: Rig, script: str, requirements: str) -> tuple[dict[str, Samples], dict[str, Samples]]:
    first: dict[str, list[float]] = {one.name: [] for one in rig.contenders}
    last: dict[str, list[float]] = {one.name: [] for one in rig.contenders}
    with rig.daemons() as daemons:
        for number in range(rig.options.rounds + 1):
            for name, daemon in daemons.items():
                task = rig.create(script, requirements)
                # A poll is waited for by chance; without this the rhythm of the rounds would decide how long.
                time.sleep(random.uniform(0, _POLL_OF_PEER) if name == "peer" else 1.0)
                enqueued = rig.enqueue(task, daemon.queue)
                began = rig.mark(task, "first")
                status, seen = rig.final(task)
                if status != "completed":
                    raise RuntimeError(f"{name}: task {task} ended {status}; see {daemon.log}")
                if number:  # the first round warms the caches
                    first[name].append(began - enqueued)
                    last[name].append(seen - rig.mark(task, "last"))
    return _samples(first), _samples(last)


def _samples(values: dict[str, list[float]]) -> dict[str, Samples]:
    return {name: Samples.of(some) for name, some in values.items()}


def _bare_sync(rig: Rig) -> Samples:
    uv, venv = find_uv_bin(), rig.options.folder / "sync"
    values = []
    for number in range(rig.options.rounds + 1):
        subprocess.run([uv, "--quiet", "venv", "--clear", "--python", rig.ours.python, venv], check=True)
        started = time.perf_counter()
        subprocess.run(
            [uv, "--quiet", "pip", "sync", "--python", venv / "bin" / "python", _PACKAGES],
            env=rig.ours.environ(),
            check=True,
        )
        if number:
            values.append(time.perf_counter() - started)
    return Samples.of(values)
