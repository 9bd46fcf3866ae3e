"""Which start of the machine this is. What was written down before another one names processes that are gone."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FILE = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """A word that changes when the machine is started anew."""
    try:
        return _FILE.read_text(encoding="ascii").strip()
    except OSError:
        import psutil  # noqa: PLC0415 - only where there is no /proc

        return str(int(psutil.boot_time()))
