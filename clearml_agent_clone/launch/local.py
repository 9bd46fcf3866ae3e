"""Start the user's process on this machine: in a session of its own, its output straight into the spool."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import attrs

from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.launch.cgroups import Cgroup
from clearml_agent_clone.launch.exit_file import ExitFile
from clearml_agent_clone.launch.family import Family, children_of
from clearml_agent_clone.launch.keeper import Keeper, KeeperGone, start_failed, start_keeper
from clearml_agent_clone.launch.plan import LaunchPlan
from clearml_agent_clone.launch.processes import ProcessId, adopt_orphans
from clearml_agent_clone.launch.running import Manner, Running, disband, end_family
from clearml_agent_clone.util.files import read_json, write_json

__all__ = ["Launcher", "Manner", "Place", "Running"]

_START_PATIENCE = 5.0


@attrs.frozen
class Place:
    """What the launch writes down in the run's folder, for a runner that comes after this one."""

    folder: Path
    run_id: str

    @property
    def user_file(self) -> Path:
        """Who the user's process is."""
        return self.folder / "user.json"

    @property
    def keeper_file(self) -> Path:
        """Who the keeper is, and in which control group the run lives."""
        return self.folder / "keeper.json"

    @property
    def exit_file(self) -> ExitFile:
        """How the user's process ended."""
        return ExitFile(self.folder / "exit")

    def user(self) -> ProcessId | None:
        """The user's process, None when none was started."""
        return ProcessId.from_record(read_json(self.user_file))

    def family(self) -> Family:
        """The run's processes, as far as it is written down how to find them."""
        record = read_json(self.keeper_file)
        group = record.get("cgroup") if isinstance(record, dict) else None
        return Family(
            self.run_id,
            main=self.user(),
            keeper=ProcessId.from_record(record),
            cgroup=Cgroup(Path(group)) if isinstance(group, str) and group else None,
        )

    def find(self) -> Running | None:
        """The user's process that an earlier runner started, whether it still runs or not; None without one."""
        family = self.family()
        deadline = time.monotonic() + _START_PATIENCE
        while family.main is None and family.keeper is not None and family.keeper.alive:
            # it is just being started, or the keeper learns in this moment that it never will be
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)
            family = self.family()
        return None if family.main is None else Running(family.main, family, self.exit_file)

    def clear(self) -> list[int]:
        """End all that is left of the run, without grace; returns those that would not die."""
        family = self.family()
        left = end_family(family, Manner())
        disband(family)
        return left


@attrs.define(eq=False)
class Launcher:
    """Made at the beginning of a run, so that all is ready when there is something to start."""

    place: Place
    cgroup: Cgroup | None
    _keeper: Keeper | None

    @classmethod
    def open(cls, place: Place) -> Launcher:
        """Make the run's control group and fork its keeper; only while this process has one thread."""
        cgroup = Cgroup.create(place.run_id)
        keeper = start_keeper(place.user_file, place.exit_file, cgroup)
        record = {"cgroup": str(cgroup.path) if cgroup is not None else ""}
        if keeper is not None:
            record |= keeper.process.to_record()
        write_json(place.keeper_file, record, durable=False)
        return cls(place, cgroup, keeper)

    def start(self, plan: LaunchPlan, output: int, held: tuple[int, ...] = ()) -> Running:
        """Start ``plan`` with stdout and stderr going to the descriptor ``output``.

        Args:
            plan: what to start.
            output: takes stdout and stderr.
            held: further descriptors that the process keeps open, such as locks that are to live as long as it does.

        Raises:
            UserError: the program does not exist or may not be run.
            Fatal: the keeper was killed while it started the program.
        """
        strangers = children_of(os.getpid())
        heir = adopt_orphans()
        keeper = self._keeper
        family = Family(
            self.place.run_id,
            keeper=keeper.process if keeper is not None else None,
            cgroup=self.cgroup,
            heir=heir,
            strangers=strangers,
        )
        main = self._by_keeper(keeper, plan, output, held) if keeper is not None else None
        if main is not None:
            return self._running(main, family, None)
        if family.members():
            raise Fatal("the keeper was killed while it started the task's process", code="keeper-killed")
        child = _start_directly(plan, output, held)
        return self._running(ProcessId.of(child.pid) or ProcessId(child.pid, 0.0, ""), family, child)

    def close(self) -> list[int]:
        """Nothing is to be started any more: end what is there, however it came; returns what would not die."""
        if self._keeper is not None:
            self._keeper.dismiss()
        return self.place.clear()

    def _by_keeper(self, keeper: Keeper, plan: LaunchPlan, output: int, held: tuple[int, ...]) -> ProcessId | None:
        try:
            return keeper.launch(plan, output, held)
        except KeeperGone:
            return self.place.user()

    def _running(self, main: ProcessId, family: Family, child: subprocess.Popen[bytes] | None) -> Running:
        if self.place.user() != main:
            write_json(self.place.user_file, main.to_record(), durable=False)
        return Running(main, attrs.evolve(family, main=main), self.place.exit_file, child)


def _start_directly(plan: LaunchPlan, output: int, held: tuple[int, ...]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            plan.argv,
            cwd=plan.cwd,
            env=dict(plan.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=held,
        )
    except OSError as error:
        raise start_failed(plan, error.strerror) from error
