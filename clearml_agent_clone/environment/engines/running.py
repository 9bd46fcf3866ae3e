"""Run an installing program for a task: progress in the console, another try where the world was away for a moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.environment.engines import Witness, Work
from clearml_agent_clone.environment.failures import Failure, diagnose
from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.environment.progress import Progress, ticking
from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.util.process import Finished, printable

_LISTED = 100


@attrs.frozen
class Command:
    """An installing program.

    Args:
        argv: without secrets.
        env: its whole environment.
        cwd: where it runs.
        fetched: how many bytes it has fetched so far; None when nobody can tell.
        more: what can be found out about the failure that this output tells of, and is not in it.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = attrs.field(repr=False)
    cwd: Path
    fetched: Callable[[], int] | None = None
    more: Callable[[str], str] = lambda _: ""


def attempt(command: Command, work: Work) -> Failure | None:
    """Run ``command``; again after a pause, a few times, when its failure is one that passes. None when it succeeded.

    Raises:
        Cancelled: the task is not wanted any more; the program and its children are gone.
    """
    pauses = list(work.settings.installing.pauses)
    number, most = 1, len(pauses) + 1
    while True:
        failure = _once(command, work)
        if failure is None or not failure.transient or not pauses:
            return failure
        pause = pauses.pop(0)
        number += 1
        work.console.say(f"{masked(failure.message)}. Trying again in {pause:g} s ({number} of {most})")
        if work.cancel is not None and work.cancel.wait(pause):
            raise Cancelled


def run_shown(command: Command, work: Work) -> tuple[Finished, str]:
    """Run ``command`` with its progress in the console; also all that it said about a failure."""
    progress = Progress(work.console, command.fetched, work.settings.installing.tell_every)
    witness = Witness(progress)
    with ticking(progress):
        done = work.run(command.argv, cwd=command.cwd, env=command.env, console=witness)
    return done, witness.testimony(done.output)


def _once(command: Command, work: Work) -> Failure | None:
    done, testimony = run_shown(command, work)
    if done.ok:
        return None
    more = command.more(testimony)
    said = f"{more}\n{testimony}" if more else testimony
    failure = diagnose(said, work.plan.indexes.shown, done.exit_code)
    return attrs.evolve(failure, command=f"{masked(printable(done.argv))} (exit code {done.exit_code})")


def tell_failure(failure: Failure, lines: Sequence[str], work: Work) -> None:
    """Put into the console what was run when ``failure`` happened, and for what; the cause follows as the error."""
    work.console.say(f"This failed: {failure.command}")
    if lines:
        work.console.say("It was to install:")
        for line in lines[:_LISTED]:
            work.console.say(f"  {masked(line)}")
        if len(lines) > _LISTED:
            work.console.say(f"  and {len(lines) - _LISTED} more")
