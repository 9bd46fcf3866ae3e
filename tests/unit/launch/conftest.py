"""Real processes, started as the runner starts them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.launch.cgroups import Cgroup
from clearml_agent_clone.launch.local import Launcher
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.launch.plan import RUN_MARK, LaunchPlan
from clearml_agent_clone.launch.running import Running


@attrs.define
class Started:
    """A process that runs some Python code, and what it has said so far."""

    running: Running
    launcher: Launcher
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def says(self, lines: int = 1) -> list[str]:
        """Wait until it has said so many lines."""
        deadline = time.monotonic() + 30
        while self.said.count("\n") < lines:
            assert time.monotonic() < deadline, f"it said only {self.said!r}"
            self.running.ended(0.01)
        return self.said.splitlines()


@attrs.define
class Begin:
    """Starts processes; ends them with the test."""

    folder: Path
    started: list[Started] = attrs.Factory(list)

    def __call__(self, code: str, *, keeper: bool = True, cgroup: bool = True) -> Started:
        folder = self.folder / str(len(self.started))
        folder.mkdir()
        run_id = f"test-{os.getpid()}-{self.folder.name}-{folder.name}"
        launcher = self._launcher(Place(folder, run_id), keeper=keeper, cgroup=cgroup)
        plan = LaunchPlan((sys.executable, "-S", "-c", code), folder, {**os.environ, RUN_MARK: run_id})
        output = folder / "out"
        with output.open("wb") as file:
            started = Started(launcher.start(plan, file.fileno()), launcher, output)
        self.started.append(started)
        return started

    @staticmethod
    def _launcher(place: Place, *, keeper: bool, cgroup: bool) -> Launcher:
        with pytest.MonkeyPatch.context() as patch:
            if not cgroup:
                patch.setattr(Cgroup, "create", lambda *_: None)
            if not keeper:
                patch.setattr("clearml_agent_clone.launch.local.start_keeper", lambda *_: None)
            return Launcher.open(place)

    def close(self) -> None:
        for started in self.started:
            started.running.sweep()
            started.running.settle()


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    made = Begin(tmp_path)
    yield made
    made.close()


@pytest.fixture
def patiently() -> Callable[[Callable[[], object]], None]:
    """Wait until something becomes true in another process."""

    def wait(found: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not found():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.005)

    return wait
