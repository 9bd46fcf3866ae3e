"""Names and labels of containers."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.containers.images import is_container_name
from clearml_agent_clone.containers.template import Resolver

WORKER_LABEL = "clearml-worker-id"
PARENT_LABEL = "clearml-parent-worker-id"
RUN_LABEL = "clearml-run-id"
TASK_LABEL = "clearml-task-id"
HOME_LABEL = "clearml-agent-home"
_UNFIT = re.compile(r"[^a-zA-Z0-9._-]")


@attrs.frozen
class Identity:
    """Whose container it is.

    ``worker_id`` is that of the slot, ``parent_worker_id`` the daemon's; they differ where each container is a worker.
    ``home`` tells agents apart that share an engine: whose run folders the run is in.
    """

    task_id: str
    run_id: str
    worker_id: str
    parent_worker_id: str = ""
    home: str = ""

    @property
    def labels(self) -> dict[str, str]:
        """By which a restarted daemon finds it, and other programs know it."""
        return {
            WORKER_LABEL: self.worker_id,
            PARENT_LABEL: self.parent_worker_id or self.worker_id,
            TASK_LABEL: self.task_id,
            RUN_LABEL: self.run_id,
            **({HOME_LABEL: self.home} if self.home else {}),
        }


@attrs.frozen
class Name:
    """A container's name, empty for one that the engine makes up; ``remark`` says why a format gave none."""

    text: str = ""
    remark: str = ""


def container_name(docker: DockerSettings, identity: Identity, resolver: Resolver, rand_string: str) -> Name:
    """The name by ``agent.docker_container_name_format``.

    Args:
        docker: has the format and its further fields, such as ``{project: "task.project"}``.
        identity: gives ``{task_id}`` and ``{worker_id}``.
        resolver: knows the task's values.
        rand_string: 32 random lower-case letters.
    """
    pattern = docker.container_name_format
    if not pattern:
        return Name()
    values = {"task_id": identity.task_id, "worker_id": identity.worker_id, "rand_string": rand_string}
    for field, path in docker.container_name_format_fields.items():
        values[field] = resolver.value_of("TASK." + path.removeprefix("task.")) or ""
    values = {field: _UNFIT.sub("_", value) for field, value in values.items()}
    try:
        name = _Fields().vformat(pattern, (), values)
    except (ValueError, KeyError) as error:
        return Name(remark=f'agent.docker_container_name_format: "{pattern}" cannot be filled in: {error}')
    if not is_container_name(name):
        return Name(remark=f'agent.docker_container_name_format: "{name}" is no name for a container; it gets none')
    return Name(name)


class _Fields(string.Formatter):
    """Fields by name only: no attributes or items of them."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002 - the base class has it
        if field_name not in kwargs:
            known = ", ".join(sorted(kwargs))
            raise ValueError(f"there is no field {{{field_name}}}, only {known}")
        return kwargs[field_name], field_name
