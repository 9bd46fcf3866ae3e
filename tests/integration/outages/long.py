"""A long outage in the middle of a task that prints all the time: nothing is lost, nothing comes twice.

    python -m tests.integration.outages.long --minutes 10 --lines-per-second 1000

starts a server, a proxy and a daemon of its own, runs the task, closes the proxy's port in its middle, and counts.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import attrs
import psutil

from tests.helpers.worker_tools import FINAL, until
from tests.integration.outages.conftest import Rig, new_rig

_PRINTER = """
import sys, time
begin, tick = time.monotonic(), 0.01
number = 0
while number < {total}:
    due = min(int((time.monotonic() - begin) * {rate}), {total})
    if due > number:
        sys.stdout.write("".join(f"line {{n}}\\n" for n in range(number, due)))
        sys.stdout.flush()
        number = due
    time.sleep(tick)
"""
_MARGIN = 5.0
_PATIENCE = 120.0


@attrs.frozen
class Figures:
    """What came out. Sizes in MiB, times in seconds."""

    outage_s: float
    printed: int
    arrived: int
    lost: int
    twice: int
    in_order: bool
    requests_while_away: int
    runner_rss_before: float
    runner_rss_peak: float
    runner_rss_after: float
    daemon_rss_peak: float
    first_line_after_s: float
    all_delivered_after_s: float
    status: str


def measure(rig: Rig, outage: float, rate: int) -> Figures:
    """Run the task through an outage of so many seconds."""
    agent, proxy = rig.agent, rig.proxy
    agent.queue()
    agent.daemon()
    total = int(rate * (outage + 2 * _MARGIN))
    task = agent.enqueue(agent.task(_PRINTER.format(total=total, rate=rate)))
    agent.shows(task, f"line {rate}\n")
    (record,) = agent.state.glob("runs/*/runner.json")
    runner = psutil.Process(json.loads(record.read_text())["pid"])
    daemon = psutil.Process(agent.daemons[0].pid)
    time.sleep(_MARGIN - 2)
    before, peaks = _rss(runner), [0.0, 0.0]
    asked = len(proxy.calls)

    def look() -> None:
        peaks[:] = [max(peaks[0], _rss(runner)), max(peaks[1], _rss(daemon))]

    proxy.down()
    down = time.monotonic()
    while time.monotonic() < down + outage:
        time.sleep(min(1.0, max(0.0, down + outage - time.monotonic())))
        look()
    asked = len(proxy.calls) - asked  # connections that were refused are none
    shown = len(_numbers(agent.console(task)))
    proxy.up()
    up = time.monotonic()
    until(lambda: len(_numbers(agent.console(task))) > shown, _PATIENCE)
    first = time.monotonic() - up
    after = before
    while (status := agent.get(task)["status"]) not in FINAL:
        look()
        after = _rss(runner) or after
        assert time.monotonic() < up + _MARGIN + _PATIENCE, agent.log()
        time.sleep(0.2)
    numbers = _numbers(agent.console(task))
    return Figures(
        outage_s=outage,
        printed=total,
        arrived=len(numbers),
        lost=total - len(set(numbers)),
        twice=len(numbers) - len(set(numbers)),
        in_order=numbers == sorted(numbers),
        requests_while_away=asked,
        runner_rss_before=before,
        runner_rss_peak=peaks[0],
        runner_rss_after=after,
        daemon_rss_peak=peaks[1],
        first_line_after_s=round(first, 2),
        all_delivered_after_s=round(time.monotonic() - up - _MARGIN, 2),
        status=status,
    )


def _numbers(console: str) -> list[int]:
    return [int(number) for number in re.findall(r"^line (\d+)$", console, re.MULTILINE)]


def _rss(process: psutil.Process) -> float:
    try:
        return round(process.memory_info().rss / 2**20, 1)
    except psutil.Error:
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--lines-per-second", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, new_rig(Path(folder)) as rig:
        figures = measure(rig, arguments.minutes * 60, arguments.lines_per_second)
    print(json.dumps(attrs.asdict(figures), indent=1))


if __name__ == "__main__":
    main()
