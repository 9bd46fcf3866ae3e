"""Start the user's process on this machine, in a session of its own, its output straight into the spool."""

from __future__ import annotations

import signal
import subprocess

import attrs

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.plan import RUN_MARK, LaunchPlan
from clearml_agent_clone.launch.processes import ProcessId, end_all, members, wait_exit


@attrs.define
class Running:
    """A started process and all that it starts."""

    child: subprocess.Popen[bytes]
    identity: ProcessId | None
    run_id: str

    def wait(self, timeout: float | None = None, wake: int | None = None) -> int | None:
        """The exit code (negative: signal), or None when ``timeout`` passed or ``wake`` became readable first."""
        return self.child.wait() if wait_exit(self.child.pid, timeout, wake) else None

    def stop(self, grace: float, first: int = signal.SIGTERM) -> list[int]:
        """End the process and every one that belongs to it; returns those that would not die."""
        left = end_all(self._members, grace, signal_first=first)
        if self.child.pid not in left:
            self.child.wait()
        return left

    def sweep(self) -> list[int]:
        """End what the process left behind when it exited."""
        return end_all(self._members, 0.0) if self._members() else []

    def _members(self) -> list[int]:
        self.child.poll()  # a dead child that nobody waited for still looks like a process
        return members(self.run_id, self.child.pid)


def start(plan: LaunchPlan, output: int, held: tuple[int, ...] = ()) -> Running:
    """Start ``plan`` with stdout and stderr going to the descriptor ``output``.

    Args:
        plan: what to start.
        output: takes stdout and stderr.
        held: further descriptors that the process keeps open, such as locks that are to live as long as it does.

    Raises:
        UserError: the program does not exist or may not be run.
    """
    try:
        child = subprocess.Popen(
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
        raise UserError(
            f'cannot start "{plan.argv[0]}" in {plan.cwd}: {error.strerror}',
            remedy="Check script.binary and script.working_dir of the task",
            code="start-failed",
        ) from error
    return Running(child, ProcessId.of(child.pid), plan.env[RUN_MARK])
