"""From ``tasks.stop`` to the user's process being gone."""

from __future__ import annotations

import time

import psutil

from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples

_SETTLE = 2.0
_LIMIT = 120.0


def abort(rig: Rig) -> list[Row]:
    values: dict[str, list[float]] = {one.name: [] for one in rig.contenders}
    with rig.daemons() as daemons:
        for _ in range(rig.options.rounds):
            for name, daemon in daemons.items():
                task = rig.create("sleep.py")
                rig.enqueue(task, daemon.queue)
                user = psutil.Process(int(rig.mark(task, "pid")))
                time.sleep(_SETTLE)
                started = time.perf_counter()
                rig.watcher.call("tasks.stop", task=task)
                _gone(user)
                values[name].append(time.perf_counter() - started)
                rig.final(task)
    return [
        Row(
            "abort → process gone",
            "s",
            ours=Samples.of(values["ours"]),
            peer=Samples.of(values["peer"]) if "peer" in values else None,
            floor=rig.round_trips(),
            floor_is="one HTTP round trip",
        )
    ]


def _gone(process: psutil.Process) -> None:
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return
        except psutil.NoSuchProcess:
            return
        time.sleep(0.005)
    raise RuntimeError(f"process {process.pid} still runs {_LIMIT:.0f} s after the abort")
