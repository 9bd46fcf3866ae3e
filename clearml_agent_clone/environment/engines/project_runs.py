"""Run poetry or uv for a project: progress in the console, another try where the world was away for a moment."""

from __future__ import annotations

import attrs

from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.engines.running import Command, run_shown, tell_failure
from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.environment.projects.causes import explain
from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.util.process import Finished, printable, run


def run_project(command: Command, work: Work, places: str) -> Finished:
    """Run ``command`` to its end; again after a pause, a few times, when its failure is one that passes.

    The result may be that of a failure; its output then has all that was said about it.

    Raises:
        Cancelled: the task is not wanted any more; the program and its children are gone.
    """
    pauses = list(work.settings.installing.pauses)
    while True:
        done, testimony = run_shown(command, work)
        failure = None if done.ok else explain(testimony, places)
        if failure is None or not failure.transient or not pauses:
            return attrs.evolve(done, output=testimony)
        pause = pauses.pop(0)
        work.console.say(f"{masked(failure.message)}. Trying again in {pause:g} s")
        if work.cancel is not None and work.cancel.wait(pause):
            raise Cancelled


def ask_project(command: Command, work: Work) -> Finished:
    """Run ``command`` for its answer, which is not for the console."""
    return run(command.argv, cwd=command.cwd, env=command.env, cancel=work.cancel)


def check(done: Finished, work: Work, places: str) -> None:
    """Do nothing about a success.

    Raises:
        UserError: code ``packages-failed``; what ran has failed, and why.
    """
    if not done.ok:
        command = f"{masked(printable(done.argv))} (exit code {done.exit_code})"
        failure = attrs.evolve(explain(done.output, places), command=command)
        tell_failure(failure, (), work)
        raise failure.error()
