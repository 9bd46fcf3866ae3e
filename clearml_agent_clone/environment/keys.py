"""The name of an environment: the same for everything that comes to the same content, another for anything else."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from clearml_agent_clone.environment.addresses import filled, without_secrets
from clearml_agent_clone.environment.model import EnvironmentPlan, Interpreter, Project
from clearml_agent_clone.environment.requirements import canonical
from clearml_agent_clone.environment.settings import EnvironmentSettings

_USER_INFO = re.compile(r"(://)[^/\s]*@")
_PACKAGES = (".whl", ".zip", ".gz", ".bz2", ".xz", ".html")
_FORMAT = 2


def environment_key(plan: EnvironmentPlan, interpreter: Interpreter | None, settings: EnvironmentSettings) -> str:
    """Name for the environment of ``plan``, such as ``py3.11-0f3a…``; stable across runs and agents of one machine.

    Args:
        plan: what is installed.
        interpreter: what it is made with; None when the engine brings one.
        settings: the configuration.
    """
    content = [
        _FORMAT,
        interpreter.identity if interpreter else f"{platform.machine()} {'-'.join(platform.libc_ver())}",
        _project(plan.project),
        sorted({_plain(line, settings) for line in plan.lines}),
        [[sorted({_plain(line, settings) for line in stage.lines}), stage.optional] for stage in plan.stages],
        sorted({_plain(line, settings) for line in plan.constraints}),
        [_digest(Path(file)) for file in plan.indexes.constraints],
        plan.engine,
        plan.engine_flags,
        _flags(settings.extra_pip_install_flags) if plan.lines else [],
        plan.pip,
        plan.torch.identity if plan.torch else None,
        settings.force_upgrade,
        # The index set decides what a name means; who asks does not.
        without_secrets(plan.indexes.main),
        [without_secrets(url) for url in plan.indexes.extra],
        [_links(place, plan.root) for place in plan.indexes.find_links],
        plan.indexes.strategy,
        plan.indexes.none,
        _site(interpreter) if interpreter and settings.system_site_packages else None,
    ]
    text = json.dumps(content, separators=(",", ":"))
    return (
        f"{f'py{interpreter.minor}' if interpreter else plan.engine}-{hashlib.sha256(text.encode()).hexdigest()[:24]}"
    )


def _flags(flags: Sequence[str]) -> tuple[str, ...]:
    """Those that say what is installed; where from is said by the index set."""
    from clearml_agent_clone.environment.engine_choice import parse_flags  # noqa: PLC0415 - few configure any

    return parse_flags(flags).words if flags else ()


def _project(project: Project | None) -> list[object] | None:
    if project is None:
        return None
    return [project.kind, [[file.name, _digest(file)] for file in project.files], project.arguments, project.text]


def _plain(line: str, settings: EnvironmentSettings) -> str:
    """``line`` in the form that all have which mean the same, without who asks."""
    text = canonical(filled(line, settings.environ))
    return _USER_INFO.sub(r"\1", text) if "@" in text else text


def _links(place: str, root: Path | None) -> object:
    """A folder of packages by what it contains: in a checkout it is at another place each time, elsewhere it changes."""
    folder = Path(unquote(place.removeprefix("file://")))
    if "://" in place and not place.startswith("file://"):
        return without_secrets(place)
    inside = root is not None and folder.is_relative_to(root)
    try:
        files = sorted(file for file in folder.iterdir() if file.name.endswith(_PACKAGES)) if folder.is_dir() else []
        if inside:
            return [[file.name, _digest(file)] for file in files]
        known = [(file.name, file.stat()) for file in files]
    except OSError:
        return place
    return [place, [[name, status.st_size, status.st_mtime_ns] for name, status in known]]


def _site(interpreter: Interpreter) -> list[tuple[str, int]]:
    """What the interpreter's own packages look like: an environment that sees them is made to fit them."""
    return [(folder, Path(folder).stat().st_mtime_ns) for folder in interpreter.packages if Path(folder).is_dir()]


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
