"""How long the command line takes to say something."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, above_floor

_ROUNDS_EACH = 4
_SILENT: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)


def cli(rig: Rig) -> list[Row]:
    return [_row(rig, option) for option in ("--help", "--version")]


def _row(rig: Rig, option: str) -> Row:
    commands: dict[str, tuple[Sequence[str | Path], Mapping[str, str]]] = {
        one.name: ([*one.program, option], one.environ()) for one in rig.contenders
    }
    commands["floor"] = ([rig.ours.python, "-c", "pass"], rig.ours.environ())
    values: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(_ROUNDS_EACH * rig.options.rounds + 1):
        for name, (argv, environ) in commands.items():
            started = time.perf_counter()
            subprocess.run(argv, env=environ, **_SILENT, check=True)
            if number:  # the first call compiles what the installer left uncompiled
                values[name].append(time.perf_counter() - started)
    samples = {name: Samples.of(some) for name, some in values.items()}
    return Row(
        f"clearml-agent {option}",
        "s",
        ours=samples["ours"],
        peer=samples.get("peer"),
        floor=samples["floor"],
        floor_is="`python -c pass`",
        targets=(above_floor(0.06),) if option == "--help" else (),
    )
