"""When a mirror was last brought up to date: who asked before need not ask the network again."""

from __future__ import annotations

from pathlib import Path

from clearml_agent_clone.source.plan import Revision
from clearml_agent_clone.util.files import read_json, write_json

_KEPT_FOR = 3600.0


class Stamps:
    """The file of a mirror that says when transfers began; its lock is the caller's."""

    def __init__(self, mirror: Path) -> None:
        self._file = mirror / "stamps.json"

    def fetched_since(self, asked: float, revision: Revision) -> bool:
        """Whether a transfer that brought ``revision`` began after ``asked`` (Unix seconds)."""
        stamps = self._read()
        return any(stamps.get(name, 0.0) >= asked for name in ("everything", str(revision)))

    def remember(self, started: float, revision: Revision | None, *, everything: bool) -> None:
        """Note when a transfer began, and of what."""
        stamps = {name: value for name, value in self._read().items() if value > started - _KEPT_FOR}
        if everything:
            stamps["everything"] = started
        if revision is not None:
            stamps[str(revision)] = started
        write_json(self._file, stamps, durable=False)

    def _read(self) -> dict[str, float]:
        stamps = read_json(self._file)
        found = stamps.items() if isinstance(stamps, dict) else ()
        return {name: value for name, value in found if isinstance(value, float)}
