"""Running git against a host: again when the network failed in its midst, and past locks of a git that was killed."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

from clearml_agent_clone.errors import Cancelled, Retryable
from clearml_agent_clone.source.address import Address
from clearml_agent_clone.source.faults import explain, reason
from clearml_agent_clone.source.git import Git
from clearml_agent_clone.util.process import Finished

_STALE_LOCK = re.compile(r"Unable to create '(?P<path>[^']+\.lock)': File exists")
_PAUSES = (1.0, 4.0)
_LOCK_PAUSE = 1.0  # longer than any git holds a lock on a ref


class Transfer:
    """Git for the mirror in ``mirror``, whose lock the caller holds; ``git`` has the credentials."""

    def __init__(self, git: Git, mirror: Path, address: Address, attempts: int) -> None:
        self.git = git
        self._mirror = mirror
        self._address = address
        self._attempts = attempts

    def run(
        self, *arguments: str | Path, cwd: Path | None = None, again: Path | None = None, shown: bool = True
    ) -> Finished:
        """Run git; a network that fails in its midst gets another chance after a pause.

        ``again`` is what a failed attempt may leave behind and has to be gone before the next.

        Raises:
            Cancelled: somebody asked to stop.
        """
        run = self.git.shown if shown else self.git.quiet
        pauses = iter(_PAUSES[: max(self._attempts - 1, 0)])
        freed: set[Path] = set()
        while True:
            finished = run(*arguments, cwd=cwd or self._mirror)
            if finished.ok:
                return finished
            stale = _STALE_LOCK.search(finished.errors or finished.output)
            lock = Path(stale["path"]) if stale else None
            pause = _LOCK_PAUSE if lock and lock not in freed else next(pauses, None)
            error = explain(finished, self._address)
            if pause is None or not (lock or (isinstance(error, Retryable) and error.code != "disk-full")):
                return finished
            self.say(f"{reason(finished)}; trying again in {pause:.0f} s")
            self.wait(pause)
            if lock:
                freed.add(lock)
                self._remove_lock(lock)
            if again is not None:
                shutil.rmtree(again, ignore_errors=True)

    def say(self, text: str) -> None:
        if self.git.console is not None:
            self.git.console.say(text)

    def wait(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            Cancelled: somebody asked to stop meanwhile.
        """
        cancel = self.git.cancel
        if cancel is None:
            time.sleep(seconds)
        elif cancel.wait(seconds):
            raise Cancelled

    def _remove_lock(self, path: Path) -> None:
        """Remove a lock file of a git that was killed: who holds our lock is the only one to write here."""
        path = self._mirror / path  # git names it relative to the mirror, or by its full path
        if path.resolve().is_relative_to(self._mirror.resolve()):
            path.unlink(missing_ok=True)
