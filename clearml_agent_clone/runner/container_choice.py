"""Which container a task gets: the facts are collected here, the decisions are those of ``containers``."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs

from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.types import Task, text
from clearml_agent_clone.config import Loaded
from clearml_agent_clone.containers.choice import Choice, agent_default, choose, requested
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.policy import Policy
from clearml_agent_clone.containers.rules import MatchFacts
from clearml_agent_clone.containers.settle import Settled, Surroundings, settle
from clearml_agent_clone.containers.template import OPEN_KEYS, TaskValues, harmless_keys
from clearml_agent_clone.runner.job import Job


@attrs.frozen
class Decided:
    """What was decided: the choice, the options that count, and what placeholders stand for (``task_values``)."""

    choice: Choice
    settled: Settled
    task_values: TaskValues


def decide_container(task: Task, job: Job, loaded: Loaded, client: Client) -> Decided:
    """Choose image, arguments and setup script of a task.

    Raises:
        UserError: what the task or the owner asks for cannot be read, or a task may not have it.
    """
    docker = loaded.settings.agent.docker
    document = client.tasks.as_sent(task.id)
    project = _Project(client, task.project)
    around = _surroundings(document, job, loaded, client, project)
    default = agent_default(job.default_container, docker.default, os.environ)
    execution = document.get("execution")
    legacy = text(execution.get("docker_cmd")) if isinstance(execution, Mapping) else ""
    tags = document.get("tags")
    facts = MatchFacts(
        script=task.script,
        project=project.name if _look_at_projects(docker.default.match_rules) else "",
        project_id=task.project,
        user_id=task.user,
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
    )
    choice = choose(requested(task.container, legacy), default, docker, facts, around.fill_image)
    settled = settle(choice, docker, Policy.of(docker, Engine(job.engine)), around)
    values = around.task_values
    assert isinstance(values, TaskValues)
    return Decided(choice, settled, values)


def _surroundings(
    document: Mapping[str, Any], job: Job, loaded: Loaded, client: Client, project: _Project
) -> Surroundings:
    queue = _Queue(client, job.queue_id)
    singles = _Singles(
        {
            "QUEUE_ID": lambda: job.queue_id,
            "QUEUE_NAME": lambda: queue.name,
            "WORKER_ID": lambda: job.worker_id,
            "PROJECT_ID": lambda: project.id,
            "PROJECT_NAME": lambda: project.name,
        }
    )
    values = TaskValues(singles, document, loaded.tree, OPEN_KEYS)
    return Surroundings(
        task_values=values,
        owner_values=attrs.evolve(values, readable=harmless_keys()),
        free=LocalPorts(),
        resolve=os.path.realpath,
        environ=os.environ,
    )


@attrs.define
class _Project:
    """Asked for when somebody needs its name; most do not."""

    client: Client
    id: str
    _name: str | None = None

    @property
    def name(self) -> str:
        if self._name is None:
            body = {"project": self.id}
            found = self.client.session.call("projects.get_by_id", body).get("project") if self.id else None
            self._name = text(found.get("name")) if isinstance(found, Mapping) else ""
        return self._name


@attrs.define
class _Queue:
    client: Client
    id: str

    @property
    def name(self) -> str:
        found = self.client.session.call("queues.get_by_id", {"queue": self.id}).get("queue") if self.id else None
        return text(found.get("name")) if isinstance(found, Mapping) else ""


@attrs.frozen
class _Singles(Mapping[str, str]):
    """Values that may cost a call, got when they are asked for."""

    makers: Mapping[str, Callable[[], str]]

    def __getitem__(self, name: str) -> str:
        return self.makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


def _look_at_projects(rules: tuple[Mapping[str, Any], ...]) -> bool:
    terms = (rule.get("match") for rule in rules)
    return any(isinstance(one, Mapping) and "project" in one for one in terms)


class LocalPorts:
    """The ports of this machine; see ``ports.FreePorts``."""

    def is_free(self, port: int) -> bool:
        """Whether nobody listens on it, on any address."""
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - asked, not served
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    probe.bind((address, port))
                except OSError:
                    return False
        return True
