"""A Python for images that have none: uv installs one on this machine, once, and it is mounted."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.containers.engine import ContainerEngine
from clearml_agent_clone.containers.image_python import ImageFindings, ImagePython, ask_python
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.environment.interpreter import wanted_python
from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.environment.model import EnvironmentRequest
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir
from clearml_agent_clone.util.process import Cancel, Console, run

_PATIENCE = 900.0


def bring_python(
    engine: ContainerEngine,
    findings: ImageFindings,
    request: EnvironmentRequest,
    settings: EnvironmentSettings,
    console: Console,
    *,
    labels: Mapping[str, str] | None = None,
    cancel: Cancel | None = None,
) -> tuple[ImagePython, Mount]:
    """An interpreter for an image without one, and what has to be mounted for it.

    Raises:
        UserError: code ``python-missing``; it may not or cannot be had.
        Cancelled: ``cancel`` was set.
    """
    if not settings.python_install:
        raise UserError(
            "the image has no Python 3.6 or later",
            remedy="Use an image with Python, or let the agent bring one (agent.python_install: true)",
            code="python-missing",
        )
    family = "musl" if findings.is_musl else "gnu" if findings.libc.startswith("glibc") else ""
    if not family:
        raise UserError(
            "the image has no Python, and no C library that one could be brought for",
            remedy="Use an image with Python, or at least with glibc or musl",
            code="python-missing",
        )
    wanted = wanted_python(request, ignore=settings.ignore_requested_python_version)
    version = wanted.version if "." in wanted.version else settings.default_python
    version = version or f"{sys.version_info.major}.{sys.version_info.minor}"
    machine = findings.machine or platform.machine()
    folder = settings.state_dir / "pythons" / f"{machine}-{family}"
    _install(version, folder, settings, console, cancel)
    path = _there(folder, version)
    mount = Mount(str(folder), str(folder), read_only=True)
    python = path and ask_python(
        engine, findings.id, path, settings.state_dir / "images", mounts=(mount,), labels=labels, cancel=cancel
    )
    if not python:
        raise UserError(
            f"Python {version} was installed for the image and does not start in it",
            remedy="Use an image with Python",
            code="python-missing",
        )
    found = "brought by the agent, the image has none"
    return attrs.evolve(python, interpreter=attrs.evolve(python.interpreter, found=found)), mount


def _there(folder: Path, version: str) -> str:
    minor = ".".join(version.split(".")[:2])
    found = [path for path in folder.glob(f"cpython-{version}*/bin/python{minor}") if not path.parents[1].is_symlink()]
    return str(max(found)) if found else ""


def _install(
    version: str, folder: Path, settings: EnvironmentSettings, console: Console, cancel: Cancel | None
) -> None:
    name = f"cpython-{version}-linux-{folder.name}"
    private_dir(folder).chmod(0o755)  # below private ones here; in a container other users have to get through
    lock = FileLock(folder / "lock")
    lock.wait(alone=True, cancel=cancel)
    try:
        if _there(folder, version):
            return
        console.say(f"The image has no Python: installing Python {version} for it, once")
        told = {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "manual", "UV_PYTHON_INSTALL_BIN": "0"}
        done = run(
            [find_uv(settings.environ) or "uv", "python", "install", "--install-dir", str(folder), "--", name],
            env={**settings.environ, **told},
            console=console,
            cancel=cancel,
            timeout=_PATIENCE,
        )
    finally:
        lock.release()
    if not done.ok:
        raise UserError(
            f"the image has no Python, and uv could not install Python {version} for it: {done.last_line}",
            remedy="Use an image with Python, or set UV_PYTHON_INSTALL_MIRROR to a mirror that this machine can reach",
            code="python-missing",
        )
