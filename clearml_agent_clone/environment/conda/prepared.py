"""Environments that somebody else has made: a folder, or an archive of conda-pack. Nothing is added to them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import attrs

from clearml_agent_clone.environment.conda.wish import Wish
from clearml_agent_clone.environment.keys import environment_key
from clearml_agent_clone.environment.model import EnvironmentPlan, EnvironmentRequest, Mode, Project
from clearml_agent_clone.environment.probe import Probe
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir, read_json, write_json

_PIECE = 1 << 20


def plan_prepared(request: EnvironmentRequest, settings: EnvironmentSettings) -> EnvironmentPlan | None:
    """The plan for a prepared environment that the configuration names; None when it names none.

    Raises:
        UserError: code ``python-missing``; there is no environment at that place.
    """
    place, origin = settings.conda.prepared, "CLEARML_CONDA_ENV_PACKAGE"
    if not place and settings.conda.by_image:
        place, origin = request.image, "the task's container image, by agent.package_manager.conda_env_as_base_docker"
    if not place:
        return None
    path = Path(place).expanduser()
    if path.is_dir():
        return _folder(path, origin, settings, request)
    if path.is_file():
        return _archive(path, origin, settings, request)
    raise UserError(
        f'there is no conda environment "{place}" ({origin})',
        remedy="Name a folder with a conda environment, or a .tar.gz that conda-pack has made",
        code="python-missing",
    )


def _folder(path: Path, origin: str, settings: EnvironmentSettings, request: EnvironmentRequest) -> EnvironmentPlan:
    found = Probe(settings.state_dir / "interpreters.json", settings.environ).ask(path / "bin" / "python")
    if found is None:
        raise UserError(
            f"{path} ({origin}) is no conda environment: {path / 'bin' / 'python'} does not start",
            remedy="Name the folder of an environment, the one that has conda-meta in it",
            code="python-missing",
        )
    return EnvironmentPlan(
        Mode.EXISTING,
        settings,
        reason=origin,
        source=f"those of {path}, as they are",
        interpreter=found,
        engine="conda",
        project=Project("conda", path, text=Wish().to_text()),
        task_id=request.task_id,
        root=request.repository_root,
    )


def _archive(path: Path, origin: str, settings: EnvironmentSettings, request: EnvironmentRequest) -> EnvironmentPlan:
    wish = Wish(archive=str(path), digest=_digest(path, settings.state_dir / "archives.json"))
    plan = EnvironmentPlan(
        Mode.STORED if settings.store_dir is not None else Mode.PRIVATE,
        settings,
        reason="" if settings.store_dir is not None else "agent.venvs_cache.path is empty",
        source=f"those in {path} ({origin}), as they are",
        engine="conda",
        engine_reason="unpacked",
        # By its content alone: the same archive may come by many names.
        project=Project("conda", path.parent, text=Wish(archive="archive", digest=wish.digest).to_text()),
        brings_python=True,
        task_id=request.task_id,
        root=request.repository_root,
    )
    return attrs.evolve(
        plan,
        key=environment_key(plan, None, settings) if plan.mode is Mode.STORED else None,
        project=Project("conda", path.parent, text=wish.to_text()),
    )


def _digest(path: Path, memory: Path) -> str:
    """SHA-256 of ``path``; remembered until the file changes, because such archives have gigabytes."""
    status = path.stat()
    stamp = [status.st_size, status.st_mtime_ns, status.st_ino]
    known = read_json(memory)
    known = known if isinstance(known, dict) else {}
    entry = known.get(str(path))
    if isinstance(entry, list) and entry[:3] == stamp:
        return str(entry[3])
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    private_dir(memory.parent)
    write_json(memory, {**known, str(path): [*stamp, digest.hexdigest()]}, durable=False)
    return digest.hexdigest()
