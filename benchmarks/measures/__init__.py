"""One file per thing that is measured; each function gives its rows of the table."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.measures.abort import abort
from benchmarks.measures.cli import cli
from benchmarks.measures.console import console
from benchmarks.measures.environment import environment
from benchmarks.measures.idle import idle
from benchmarks.measures.redaction import redaction
from benchmarks.measures.source import source
from benchmarks.measures.start import cached_packages, nothing_to_install
from benchmarks.rig import Rig
from benchmarks.stats import Row

MEASURES: dict[str, Callable[[Rig], list[Row]]] = {
    "cli": cli,
    "start": nothing_to_install,
    "packages": cached_packages,
    "source": source,
    "environment": environment,
    "abort": abort,
    "console": console,
    "redaction": redaction,
    "idle": idle,
}
"""By the name that ``--only`` takes, in the order in which they run."""
