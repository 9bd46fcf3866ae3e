"""Writing back which code a task got, so that its record names it even when it was recorded by a branch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clearml_agent_clone.api.access import ONCE
from clearml_agent_clone.api.types import Requirements, Task
from clearml_agent_clone.environment import EnvironmentResult, write_back

if TYPE_CHECKING:
    from clearml_agent_clone.api.calls_tasks import Tasks
    from clearml_agent_clone.runner.container_choice import Decided
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


def write_packages_back(task: Task, environment: EnvironmentResult, tasks: Tasks, outbox: Outbox) -> None:
    """The packages that a task got, where its record does not say so already."""
    packages = write_back(task.script.requirements, environment.installed, environment.whole)
    if packages:
        requirements = Requirements.from_wire(packages)
        outbox.put("writing installed packages back", lambda: tasks.set_requirements(task.id, requirements, retry=ONCE))


PORTS_KEY = "_external_host_tcp_port_mapping"
"""Runtime value of a task: ``HOST:CONTAINER`` of each port that its container publishes."""


def write_container_back(task: Task, decided: Decided, tasks: Tasks, outbox: Outbox) -> None:
    """The container that a task got without naming one, and which of its ports are which of this machine's."""
    record, ports = decided.choice.write_back, decided.settled.published.runtime_property
    if record is not None:
        outbox.put("writing the container back", lambda: tasks.set_container(task.id, record, retry=ONCE))
    if ports:
        outbox.put("writing the ports back", lambda: tasks.set_runtime(task.id, {PORTS_KEY: ports}, retry=ONCE))
