"""What a task's own ``--volume`` and ``--mount`` would mount, and whether the machine's owner allows that.

Written against the engine's grammar and not against examples: a field that is not understood is not allowed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence

import attrs

from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.errors import UserError

_PLAIN_MODES = frozenset({"ro", "rw", "cached", "delegated", "consistent", "nocopy"})
_ALIASES = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly"}
_PLAIN_FIELDS = frozenset(
    {"type", "source", "target", "readonly", "consistency", "tmpfs-size", "tmpfs-mode", "volume-nocopy"}
)
_TRUE = frozenset({"", "1", "true", "t"})

Resolve = Callable[[str], str]
"""The path behind symbolic links; a task that may write below an allowed folder could leave a link there."""


@attrs.frozen
class AllowedMount:
    """An item of ``agent.docker_task_mounts_allowed``: a folder of the host, or the name of a volume."""

    path: str
    read_only: bool = False

    @classmethod
    def parse(cls, text: str) -> AllowedMount:
        """``/data``, ``/data:ro``, ``volume_name`` or ``volume_name:ro``.

        Raises:
            UserError: it is a relative path, or empty.
        """
        path, _, mode = text.strip().partition(":")
        named = path and "/" not in path and not path.startswith((".", "~"))
        if mode not in ("", "ro", "rw") or not (named or path.startswith("/")):
            raise UserError(
                f'agent.docker_task_mounts_allowed: "{text}" is neither a full path nor the name of a volume',
                remedy="Write /data, /data:ro (tasks may only read), or the name of a volume",
                code="bad-value",
            )
        return cls(path if named else posixpath.normpath(path), mode == "ro")

    def covers(self, source: str) -> bool:
        """Whether ``source`` is this volume, this folder, or below it."""
        return source == self.path or (source.startswith("/") and source.startswith(self.path.rstrip("/") + "/"))


@attrs.frozen
class Wanted:
    """What one option would mount: ``source`` empty for a fresh volume or tmpfs."""

    source: str = ""
    read_only: bool = False
    problem: str = ""
    """Why it cannot be judged, or is more than a plain mount."""


def wanted(option: Option) -> Wanted:
    """What ``option`` (``volume`` or ``mount``) would mount."""
    return _volume(option.text) if option.name == "volume" else _mount(option.text)


def judge(option: Option, allowed: Sequence[AllowedMount], resolve: Resolve) -> tuple[str, Option]:
    """Why a task may not have this mount (nothing when it may), and the option with links of the host resolved."""
    asked = wanted(option)
    if asked.problem:
        return asked.problem, option
    if not asked.source:
        return "", option
    real = asked.source
    if real.startswith("/"):
        real = posixpath.normpath(resolve(real))
    leaves = [attrs.evolve(leave, path=resolve(leave.path)) if leave.path[0] == "/" else leave for leave in allowed]
    for leave in leaves:
        if leave.covers(real) and (asked.read_only or not leave.read_only):
            return "", attrs.evolve(option, value=_replaced(option, asked.source, real))
    if any(leave.covers(real) for leave in leaves):
        return f"{asked.source} may only be mounted read-only (add :ro)", option
    kind = "folder of the host" if asked.source.startswith("/") else "volume"
    return f"{asked.source} is a {kind} that agent.docker_task_mounts_allowed does not name", option


def _replaced(option: Option, source: str, real: str) -> str:
    """The same value with the resolved path. Only plain values get here, in which the source stands once."""
    if real == source or option.name == "volume":
        return real + option.text[len(source) :]
    return ",".join(
        f"source={real}" if field.partition("=")[0].lower() in ("source", "src") else field
        for field in option.text.split(",")
    )


def _volume(value: str) -> Wanted:
    """``[source:]target[:modes]``."""
    parts = value.split(":")
    if len(parts) > 3 or not all(parts):
        return Wanted(problem="it is not source:target or source:target:ro")
    if len(parts) == 1:
        return Wanted() if value.startswith("/") else Wanted(problem="its target is no full path")
    modes = set(parts[2].split(",")) if len(parts) == 3 else set()
    if modes - _PLAIN_MODES:
        return Wanted(problem=f"mount option {min(modes - _PLAIN_MODES)}")
    return _checked(parts[0], "ro" in modes)


def _mount(value: str) -> Wanted:
    """``type=bind,source=…,target=…,readonly``: comma-separated values, names in any case, the last one counts."""
    if '"' in value:
        return Wanted(problem="it is quoted")
    fields: dict[str, str] = {}
    for field in value.split(","):
        name, _, text = field.partition("=")
        name = _ALIASES.get(name.strip().lower(), name.strip().lower())
        if name in fields or name not in _PLAIN_FIELDS:
            return Wanted(problem=f'field "{name}"' + (" stands twice" if name in fields else ""))
        fields[name] = text
    kind = fields.get("type", "volume").lower()
    source = fields.get("source", "")
    if kind == "tmpfs" and not source:
        return Wanted()
    if kind not in ("bind", "volume"):
        return Wanted(problem=f"mount type {kind}")
    if (kind == "bind") != source.startswith("/"):
        return Wanted() if kind == "volume" and not source else Wanted(problem=f'source "{source}" of a {kind}')
    return _checked(source, fields.get("readonly", "no").lower() in _TRUE)


def _checked(source: str, read_only: bool) -> Wanted:
    if source.startswith("/"):
        if ".." in source.split("/"):
            return Wanted(problem="its source goes up by ..")
        return Wanted(source, read_only)
    if "/" in source or source.startswith((".", "~")):
        return Wanted(problem="its source is no full path")
    return Wanted(source, read_only)
