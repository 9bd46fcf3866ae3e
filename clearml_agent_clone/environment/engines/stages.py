"""Install the stages of a plan one after the other, with whichever engine."""

from __future__ import annotations

from collections.abc import Callable

from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.engines.running import tell_failure
from clearml_agent_clone.environment.failures import Failure
from clearml_agent_clone.environment.model import Stage, masked


def install_stages(work: Work, install: Callable[[Stage], Failure | None]) -> Failure | None:
    """Call ``install`` for each stage. The first failure ends it and is told and returned, unless its stage is optional."""
    stages = work.plan.stages or (Stage(work.plan.lines),)
    for stage in stages:
        if len(stages) > 1 and stage.reason:
            work.console.say(f"{stage.reason}: {masked(', '.join(stage.lines))}")
        failure = install(stage)
        if failure is None:
            continue
        if not stage.optional:
            if not failure.engine_only:
                tell_failure(failure, stage.lines, work)
            return failure
        work.console.say(f"Going on without {masked(', '.join(stage.lines))}: {masked(failure.message)}")
    return None
