"""``${CLEARML_…}`` in container arguments (and, later, in templates of pods and batch jobs).

    ${CLEARML_TASK.name}   ${CLEARML_QUEUE_NAME:none}   ${CLEARML_TASK.name|lower|strip(-)}   $CLEARML_TASK.id

Words are filled in one by one, before they are read as options: a value can fill a word but not make a new one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from clearml_agent_clone.config.known import known_keys, resembles_secret
from clearml_agent_clone.config.masking import url_passwords
from clearml_agent_clone.config.secret_values import looks_secret
from clearml_agent_clone.errors import UserError

_SINGLES = ("QUEUE_NAME", "QUEUE_ID", "WORKER_ID", "PROJECT_NAME", "PROJECT_ID")
_TREES = ("TASK", "CONFIG", "USER", "USER_VAULTS", "PROVIDERS_INFO")
_NAME = rf"(?:{'|'.join(_SINGLES)})(?![\w.])|(?:{'|'.join(_TREES)})(?:\.[A-Za-z0-9_-]+)+"
_BRACED = rf"\{{CLEARML_\|?(?P<name>{_NAME})(?P<rest>[:|][^{{}}\n]*)?\}}"
_BARE = rf"CLEARML_(?P<bare>(?:{'|'.join(_SINGLES)})(?![A-Za-z0-9_])|(?:{'|'.join(_TREES)})(?:\.[A-Za-z0-9_]+)+)"
_PLACEHOLDER = re.compile(rf"(?<!\$)\$(?:{_BRACED}|{_BARE})")
_FILTER = re.compile(r"\|\s*(?P<name>strip|capitalize|lower|remove_newlines|raw)\s*(?:\((?P<argument>[^()]*)\))?\s*")

Scalar = str | int | float | bool


class Resolver(Protocol):
    """Says what a name stands for."""

    def value_of(self, name: str) -> str | None:
        """The value of ``TASK.name``, ``QUEUE_ID``, …; None where there is none, or none that may be given."""


@attrs.frozen
class TaskValues:
    """The resolver for a task's own arguments. It holds the task's values and nothing of the agent's secrets.

    Args:
        singles: QUEUE_NAME, QUEUE_ID, WORKER_ID, PROJECT_NAME, PROJECT_ID; empty values count as missing.
        task: the task as the server has it.
        config: the effective configuration. Only keys in ``readable`` are given from it.
        readable: dotted keys; ``OPEN_KEYS`` for tasks, ``harmless_keys()`` for what the machine's owner wrote.
        user: the owner of the task (never that of the agent); empty when not known.
    """

    singles: Mapping[str, str] = attrs.Factory(dict)
    task: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    config: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    readable: frozenset[str] = frozenset()
    user: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    def value_of(self, name: str) -> str | None:
        """See ``Resolver``."""
        head, _, path = name.partition(".")
        if head in _SINGLES:
            return self.singles.get(head) or None
        if head == "TASK":
            return self._of_task(path)
        if head == "USER":
            return None if _is_secret(path) else _scalar(_find(self.user, path))
        if head == "CONFIG" and path in self.readable:
            value = _scalar(_find(self.config, path))
            return None if value is None or any(url_passwords(value)) else value
        return None

    def _of_task(self, path: str) -> str | None:
        found = _scalar(_find(self.task, path))
        if found is None and path.endswith(".id"):
            return _scalar(_find(self.task, path.removesuffix(".id")))  # the server sends some references as bare ids
        return found


OPEN_KEYS = frozenset(
    {
        "agent.worker_id",
        "agent.worker_name",
        "agent.cuda_version",
        "agent.cudnn_version",
        "agent.default_docker.image",
        "agent.package_manager.type",
        "api.api_server",
        "api.web_server",
        "api.files_server",
    }
)
"""What any task may learn of the configuration."""


def harmless_keys() -> frozenset[str]:
    """Every key of the table that neither is nor holds a secret."""
    return frozenset(
        path
        for path, row in known_keys().items()
        if not (row.secret or row.embeds or resembles_secret(path) or path.startswith("api.credentials"))
    )


def fill(words: Sequence[str], resolver: Resolver, where: str) -> tuple[str, ...]:
    """``words`` with every placeholder replaced, each word staying one.

    Raises:
        UserError: a placeholder has neither a value nor a default, or ends in something that is no filter.
    """
    return tuple(fill_text(word, resolver, where) for word in words)


def fill_text(text: str, resolver: Resolver, where: str) -> str:
    """The same for one text; ``where`` is what messages call it."""

    def replace(match: re.Match[str]) -> str:
        name = match["name"] or match["bare"]
        default, filters = _parts(match["rest"] or "", match[0], where)
        value = resolver.value_of(name)
        if value is None:
            value = default
        if value is None:
            raise UserError(
                f"{where}: {match[0]} has no value",
                remedy=f"Correct the name, or give a default: ${{CLEARML_{name}:something}}",
                code="placeholder",
            )
        for change in filters:
            value = change(value)
        return value

    return _PLACEHOLDER.sub(replace, text)


def _parts(rest: str, whole: str, where: str) -> tuple[str | None, list[Callable[[str], str]]]:
    """``:default|filter|filter`` or ``|filter:default``: the default (None when there is none) and the filters."""
    default: str | None = None
    changes: list[Callable[[str], str]] = []
    raw = False
    while rest:
        match = _FILTER.match(rest)
        if match:
            raw = raw or match["name"] == "raw"
            changes.append(_filter(match["name"], match["argument"]))
            rest = rest[match.end() :]
        elif rest.startswith(":") and default is None:
            default, bar, after = rest[1:].partition("|")
            rest = bar + after
        else:
            raise UserError(
                f'{where}: "{rest}" in {whole} is no filter',
                remedy="There are strip, strip(x), lower, capitalize, remove_newlines and raw",
                code="placeholder",
            )
    return default, changes if raw else [_one_line, *changes]


def _filter(name: str, argument: str | None) -> Callable[[str], str]:
    if name == "strip":
        return lambda value: value.strip(argument or None)
    named: dict[str, Callable[[str], str]] = {
        "capitalize": str.capitalize,
        "lower": str.lower,
        "remove_newlines": _one_line,
        "raw": str,
    }
    return named[name]


def _one_line(value: str) -> str:
    return value.replace("\r", "").replace("\n", "")


def _find(tree: object, path: str) -> object:
    for part in path.split("."):
        if not isinstance(tree, Mapping) or part not in tree:
            return None
        tree = tree[part]
    return tree


def _scalar(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list | tuple) and all(isinstance(item, Scalar) for item in value):
        return ",".join(_scalar(item) or "" for item in value)
    return None


def _is_secret(path: str) -> bool:
    return any(map(looks_secret, path.split(".")))
