"""Writing back which code a task got, so that its record names it even when it was recorded by a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clearml_agent_clone.api.access import ONCE
from clearml_agent_clone.api.types import Task

if TYPE_CHECKING:
    from clearml_agent_clone.api.calls_tasks import Tasks
    from clearml_agent_clone.runner.outbox import Outbox
    from clearml_agent_clone.source import SourceResult

RUNTIME_KEY = "_exec_agent_source"
"""Runtime value of a task: ``repository=…, branch=…, commit=…, state=clean, from=mirror``."""


def write_source_back(task: Task, source: SourceResult, tasks: Tasks, outbox: Outbox) -> None:
    """Put what is to be written into ``outbox``: the commit where the task left it open, and all facts at its runtime.

    It is put there before packages are looked at: the record is complete also when those cannot be had.
    """
    if not source.repository:
        return
    script = source.missing_in(task.script)
    if script:
        outbox.put("writing the commit back", lambda: tasks.edit(task.id, script=script, retry=ONCE))
    text = ", ".join(f"{name}={value}" for name, value in source.facts.items())
    outbox.put(
        "writing back where the code is from", lambda: tasks.set_runtime(task.id, {RUNTIME_KEY: text}, retry=ONCE)
    )
