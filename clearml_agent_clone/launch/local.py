"""Start the user's process on this machine, and find it again: its output goes straight into the spool."""

from __future__ import annotations

import subprocess
import time

import attrs

from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.launch.family import Family, own_children
from clearml_agent_clone.launch.keeper import Keeper, KeeperGone, start_failed, start_keeper
from clearml_agent_clone.launch.place import Place, group_at
from clearml_agent_clone.launch.plan import LaunchPlan
from clearml_agent_clone.launch.processes import ProcessId, adopt_orphans
from clearml_agent_clone.launch.running import Manner, Running, disband, end_family

_START_PATIENCE = 5.0
_LOOK = 0.01


def find(place: Place) -> Running | None:
    """The user's process that an earlier runner started, whether it still runs or not; None without one."""
    family = place.family()
    deadline = time.monotonic() + _START_PATIENCE
    while family.main is None and family.keeper is not None and family.keeper.alive:
        # it is just being started, or the keeper learns in this moment that it never will be
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK)
        family = place.family()
    return None if family.main is None else Running(family.main, family, place)


def clear(place: Place) -> list[int]:
    """End all that is left of a run, without grace; returns those that would not die."""
    family = place.family()
    left = end_family(family, Manner())
    disband(family)
    return left


@attrs.define(eq=False)
class Launcher:
    """Made at the beginning of a run, so that all is ready when there is something to start."""

    place: Place
    _keeper: Keeper | None

    @classmethod
    def open(cls, place: Place) -> Launcher:
        """Fork the run's keeper; only while this process has one thread."""
        return cls(place, start_keeper(place, place.run_id))

    def start(self, plan: LaunchPlan, output: int, held: tuple[int, ...] = (), stdin: int | None = None) -> Running:
        """Start ``plan`` in a session of its own.

        Args:
            plan: what to start.
            output: takes stdout and stderr.
            held: further descriptors that the process keeps open, such as locks that are to live as long as it does.
            stdin: what it reads; by default nothing.

        Raises:
            UserError: the program does not exist or may not be run.
            Fatal: the keeper was killed while it started the program.
        """
        strangers = own_children()
        family = Family(self.place.run_id, heir=adopt_orphans(), strangers=strangers)
        if self._keeper is not None:
            family = attrs.evolve(family, keeper=self._keeper.process)
            try:
                main, group = self._keeper.launch(plan, output, held, stdin)
            except KeeperGone:
                known = self.place.family()
                family = attrs.evolve(family, main=known.main, cgroup=known.cgroup)
            else:
                return Running(main, attrs.evolve(family, main=main, cgroup=group_at(group)), self.place)
            if family.main is not None:
                return Running(family.main, family, self.place)
            if family.members():
                raise Fatal("the keeper was killed while it started the task's process", code="keeper-killed")
        return self._start_directly(family, plan, output, held, stdin)

    def close(self) -> list[int]:
        """Nothing is to be started any more: end what is there, however it came; returns what would not die."""
        if self._keeper is not None:
            self._keeper.dismiss()
        return clear(self.place)

    def _start_directly(
        self, family: Family, plan: LaunchPlan, output: int, held: tuple[int, ...], stdin: int | None
    ) -> Running:
        try:
            child = subprocess.Popen(
                plan.argv,
                cwd=plan.cwd,
                env=dict(plan.env),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=held,
            )
        except OSError as error:
            raise start_failed(plan, error.strerror) from error
        main = ProcessId.of(child.pid) or ProcessId(child.pid, 0.0, "")
        self.place.user_file.put(main.to_record())
        return Running(main, attrs.evolve(family, main=main), self.place, child)
