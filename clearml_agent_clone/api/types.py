"""What the server says about tasks and queues, as frozen values.

``from_wire`` takes the server's JSON and forgives what servers of different ages leave out or send as null; a
field of the wrong kind becomes the empty value, because a task must stay readable enough to be failed with a reason.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs


class TaskStatus(enum.Enum):
    """The server's task statuses."""

    CREATED = "created"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    STOPPED = "stopped"
    PUBLISHED = "published"
    PUBLISHING = "publishing"
    CLOSED = "closed"
    FAILED = "failed"
    COMPLETED = "completed"
    UNKNOWN = "unknown"

    @classmethod
    def from_wire(cls, value: object) -> TaskStatus:
        try:
            return cls(value)
        except ValueError:
            return cls.UNKNOWN


@attrs.frozen
class Requirements:
    """``script.requirements``: each text is the lines of one file; None when the task does not have it.

    ``pip`` None and ``pip`` "" differ: nothing was recorded, or it was recorded that nothing is needed.
    """

    pip: str | None = None
    conda: str | None = None
    org_pip: str | None = None
    org_conda: str | None = None
    conda_env_json: str | None = None

    @classmethod
    def from_wire(cls, data: object) -> Requirements:
        source = data if isinstance(data, Mapping) else {}
        return cls(**{field.name: _lines(source.get(field.name)) for field in attrs.fields(cls)})

    def to_wire(self) -> dict[str, str]:
        return {name: value for name, value in attrs.asdict(self).items() if value is not None}


@attrs.frozen
class Script:
    """``task.script``: where the code is and how it is started. All texts are stripped except ``diff``."""

    binary: str = ""
    repository: str = ""
    branch: str = ""
    tag: str = ""
    version_num: str = ""
    entry_point: str = ""
    working_dir: str = ""
    diff: str = ""
    requirements: Requirements = attrs.Factory(Requirements)

    @classmethod
    def from_wire(cls, data: object) -> Script:
        source = data if isinstance(data, Mapping) else {}
        texts = ("binary", "repository", "branch", "tag", "version_num", "entry_point", "working_dir")
        return cls(
            **{name: text(source.get(name)).strip() for name in texts},
            diff=text(source.get("diff")),
            requirements=Requirements.from_wire(source.get("requirements")),
        )

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing here that could be run."""
        return not (self.repository or self.entry_point or self.diff.strip())


@attrs.frozen
class Container:
    """``task.container``; ``arguments`` is one string as a shell would split it."""

    image: str = ""
    arguments: str = ""
    setup_shell_script: str = ""

    @classmethod
    def from_wire(cls, data: object) -> Container:
        source = data if isinstance(data, Mapping) else {}
        return cls(**{field.name: text(source.get(field.name)) for field in attrs.fields(cls)})


@attrs.frozen
class Task:
    """One task as far as an agent is concerned with it."""

    id: str
    name: str = ""
    type: str = ""
    project: str = ""
    user: str = ""
    status: TaskStatus = TaskStatus.UNKNOWN
    status_message: str = ""
    status_reason: str = ""
    script: Script = attrs.Factory(Script)
    container: Container = attrs.Factory(Container)
    queue: str = ""
    last_worker: str = ""
    last_update: str = ""
    runtime: Mapping[str, Any] = attrs.Factory(dict)
    hyperparams: Mapping[str, Mapping[str, str]] = attrs.Factory(dict)
    system_tags: tuple[str, ...] = ()

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Task:
        execution = data.get("execution")
        runtime = data.get("runtime")
        names = (
            "id",
            "name",
            "type",
            "project",
            "user",
            "status_message",
            "status_reason",
            "last_worker",
            "last_update",
        )
        return cls(
            **{name: _reference(data.get(name)) for name in names},
            status=TaskStatus.from_wire(data.get("status")),
            script=Script.from_wire(data.get("script")),
            container=Container.from_wire(data.get("container")),
            queue=text(execution.get("queue")) if isinstance(execution, Mapping) else "",
            runtime=dict(runtime) if isinstance(runtime, Mapping) else {},
            hyperparams=_parameters(data.get("hyperparams")),
            system_tags=_texts(data.get("system_tags")),
        )


@attrs.frozen
class TaskState:
    """What a running task is watched for.

    ``started`` is the server's stamp of when it was first set in progress since it was made or reset, ``last_worker`` who
    has reported it last. ``runtime`` holds those of ``_abort_callback_timeout``, ``_abort_poll_freq`` (seconds) and
    ``_abort_callback_completed`` that the SDK has set.
    """

    id: str
    status: TaskStatus = TaskStatus.UNKNOWN
    status_message: str = ""
    status_reason: str = ""
    runtime: Mapping[str, Any] = attrs.Factory(dict)
    started: str = ""
    last_worker: str = ""

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> TaskState:
        runtime = data.get("runtime")
        return cls(
            id=text(data.get("id")),
            status=TaskStatus.from_wire(data.get("status")),
            status_message=text(data.get("status_message")),
            status_reason=text(data.get("status_reason")),
            runtime=dict(runtime) if isinstance(runtime, Mapping) else {},
            started=text(data.get("started")),
            last_worker=text(data.get("last_worker")),
        )


@attrs.frozen
class Queue:
    """A queue; ``entries`` are task ids, the next to run first."""

    id: str
    name: str = ""
    tags: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Queue:
        return cls(
            id=text(data.get("id")),
            name=text(data.get("name")),
            tags=_texts(data.get("tags")),
            entries=tuple(_reference(entry.get("task")) for entry in _mappings(data.get("entries"))),
        )


@attrs.frozen
class Entry:
    """What a queue hands out: a task, the queue it came from, and since when it waited (ISO 8601, may be empty)."""

    task: str
    queue: str
    added: str = ""

    @classmethod
    def from_wire(cls, data: object, queue: str) -> Entry | None:
        """The answer's ``entry``; ``queue`` is the queue that was asked. None when there is no task in it."""
        entry = data if isinstance(data, Mapping) else {}
        task = _reference(entry.get("task"))
        return cls(task, _reference(entry.get("queue")) or queue, text(entry.get("added"))) if task else None


@attrs.frozen
class Worker:
    """A registered worker. ``record`` is what the server said of it, for showing it whole."""

    id: str
    user: str = ""
    task: str = ""
    queues: tuple[str, ...] = ()
    last_activity_time: str = ""
    record: Mapping[str, Any] = attrs.Factory(dict)

    @classmethod
    def from_wire(cls, data: Mapping[str, Any]) -> Worker:
        return cls(
            id=text(data.get("id")),
            user=_reference(data.get("user")),
            task=_reference(data.get("task")),
            queues=tuple(text(queue.get("id")) for queue in _mappings(data.get("queues"))),
            last_activity_time=text(data.get("last_activity_time")),
            record=dict(data),
        )


def text(value: object) -> str:
    """``value`` if it is text, a number as text, else nothing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _reference(value: object) -> str:
    """An id, whether the server sent it bare or as an expanded ``{"id": …}``."""
    return text(value.get("id")) if isinstance(value, Mapping) else text(value)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text(item) for item in value) if isinstance(value, list) else ()


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _lines(value: object) -> str | None:
    if isinstance(value, list):
        return "\n".join(text(line) for line in value)
    return value if isinstance(value, str) else None


def _parameters(value: object) -> dict[str, dict[str, str]]:
    if not isinstance(value, Mapping):
        return {}
    return {
        text(section): {
            text(name): text(item.get("value")) for name, item in items.items() if isinstance(item, Mapping)
        }
        for section, items in value.items()
        if isinstance(items, Mapping)
    }
