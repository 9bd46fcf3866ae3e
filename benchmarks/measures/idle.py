"""What a daemon costs while nothing happens."""

from __future__ import annotations

import contextlib
import time

import attrs
import psutil

from benchmarks.contender import Contender, Daemon
from benchmarks.load import cpu_seconds
from benchmarks.proxy import CountingProxy
from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, at_most

_SETTLE = 8.0
_MIB = 1024 * 1024


@attrs.frozen
class _Idle:
    cpu_percent: float
    rss_mib: float
    pss_mib: float
    requests_per_minute: float


def idle(rig: Rig) -> list[Row]:
    seen = {one.name: _watch(rig, one) for one in rig.contenders}
    ours, peer = seen["ours"], seen.get("peer")

    def row(name: str, unit: str, field: str, limit: float | None = None) -> Row:
        return Row(
            f"idle daemon, {name}",
            unit,
            ours=Samples.of([getattr(ours, field)]),
            peer=None if peer is None else Samples.of([getattr(peer, field)]),
            targets=() if limit is None else (at_most(limit, unit),),
        )

    return [
        row("CPU", "% of a core", "cpu_percent", 0.2),
        row("memory of its main process (RSS)", "MiB", "rss_mib", 45),
        row("memory of all its processes (PSS: shared pages count once)", "MiB", "pss_mib", 45),
        row("requests", "per minute", "requests_per_minute"),
    ]


def _watch(rig: Rig, contender: Contender) -> _Idle:
    with (
        CountingProxy(rig.server.api) as proxy,
        rig.daemon(contender, CLEARML_API_HOST=proxy.url) as daemon,
    ):
        time.sleep(_SETTLE)
        requests, cpu, started = proxy.count, cpu_seconds(daemon.tree()), time.monotonic()
        rss = pss = 0.0
        while time.monotonic() - started < rig.options.idle_seconds:
            time.sleep(1.0)
            rss, pss = max(rss, daemon.tree()[0].memory_info().rss), max(pss, _pss(daemon))
        seconds = time.monotonic() - started
        assert proxy.count, "the daemon did not go through the counting proxy"
        return _Idle(
            cpu_percent=100 * (cpu_seconds(daemon.tree()) - cpu) / seconds,
            rss_mib=rss / _MIB,
            pss_mib=pss / _MIB,
            requests_per_minute=60 * (proxy.count - requests) / seconds,
        )


def _pss(daemon: Daemon) -> float:
    total = 0
    for process in daemon.tree():
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return float(total)
