"""The table on the terminal and the same as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.stats import Row, Samples

_HEAD = ("what", "floor", "peer", "ours", "peer : ours", "target")


def table(rows: Sequence[Row]) -> str:
    """``rows`` as aligned text: median with (min-max), the ratio, and each target with its verdict."""
    lines: list[tuple[str, ...]] = [_HEAD]
    notes: list[str] = []
    for row in rows:
        ratio = row.ratio
        verdicts = [f"{target.text} {_verdict(target.reached(row))}" for target in row.targets]
        lines.append(
            (
                f"{row.name} [{row.unit}]",
                _cell(row.floor),
                _cell(row.peer),
                _cell(row.ours),
                "-" if ratio is None else f"{ratio:.1f}",
                "; ".join(verdicts) or "-",
            )
        )
        if row.floor_is:
            notes.append(f"{row.name}: the floor is {row.floor_is}.")
        notes += [f"{row.name}: {note}" for note in row.notes]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*text, "", *notes])


def write(path: Path, rows: Sequence[Row], versions: dict[str, str]) -> None:
    """Leave ``rows`` as JSON, with what is needed to judge them later."""
    path.write_text(
        json.dumps(
            {
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "python": platform.python_version(),
                "system": platform.platform(),
                "cores": os.cpu_count(),
                "versions": versions,
                "rows": [row.as_json() for row in rows],
            },
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def _cell(samples: Samples | None) -> str:
    if samples is None:
        return "-"
    if len(samples.values) == 1:
        return _number(samples.median)
    return f"{_number(samples.median)} ({_number(samples.low)}-{_number(samples.high)})"


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _verdict(reached: bool | None) -> str:
    return "?" if reached is None else "ok" if reached else "MISSED"
