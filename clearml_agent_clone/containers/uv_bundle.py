"""The uv that installs in containers: one that is linked statically, so that it runs with any C library or none.

The agent's own is usually linked against glibc. The same version for musl is on the package index, fetched once.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.environment.engines.uv import index_variables
from clearml_agent_clone.environment.indexes import from_pip, with_options
from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.environment.model import masked
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.uv_choice import uv_specs, uv_version
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir, slug
from clearml_agent_clone.util.process import Cancel, Console, run

_CONFIGURED = "CLEARML_BOOTSTRAP_UV_EXEC"
_PLATFORMS = {"x86_64": "x86_64-unknown-linux-musl", "aarch64": "aarch64-unknown-linux-musl"}
_SAME = {"amd64": "x86_64", "arm64": "aarch64"}
_PATIENCE = 600.0


def uv_for(machine: str, libc: str, settings: EnvironmentSettings, console: Console, cancel: Cancel | None) -> Path:
    """Path on this machine of a uv that runs in containers with that machine and C library.

    Raises:
        UserError: code ``uv-missing``; there is none, and why.
        Cancelled: ``cancel`` was set.
    """
    own = find_uv(settings.environ)
    if settings.environ.get(_CONFIGURED, "").strip():
        if not os.access(own, os.X_OK):
            raise _missing(f"{_CONFIGURED} names {own}, which is no program")
        return Path(own)
    machine = _SAME.get(machine.lower(), machine) or platform.machine()
    asked = uv_specs(settings.installing.uv_version)
    wanted = ",".join(asked) or (f"=={version}" if (version := uv_version(own)) else "")
    place = settings.state_dir / "uv" / f"{slug(wanted.removeprefix('=='))}-{machine}-musl" / "uv"
    if os.access(place, os.X_OK):
        return place
    why = _fetch(_Order(own, wanted, machine, place), settings, console, cancel)
    if not why:
        return place
    if own and not asked and machine == platform.machine() and not libc.startswith("musl"):
        console.say(f"{masked(why)}: the agent's own uv is used in the container, which needs a C library like here")
        return Path(own).resolve()
    raise _missing(masked(why))


def _missing(why: str) -> UserError:
    return UserError(
        f"there is no uv to install packages with in this container: {why}",
        remedy=f"Put one that is linked statically on this machine and name it by {_CONFIGURED}",
        code="uv-missing",
    )


@attrs.frozen
class _Order:
    own: str
    wanted: str
    machine: str
    place: Path


def _fetch(order: _Order, settings: EnvironmentSettings, console: Console, cancel: Cancel | None) -> str:
    """Put it there; why that cannot be, or nothing."""
    target = _PLATFORMS.get(order.machine)
    if target is None:
        return f"the package index has none for {order.machine}"
    if not order.own:
        return "the agent has no uv to fetch it with"
    folder = private_dir(order.place.parent)
    lock = FileLock(folder / "lock")
    lock.wait(alone=True, cancel=cancel)
    try:
        if os.access(order.place, os.X_OK):  # somebody else was quicker
            return ""
        console.say(f"Fetching uv {order.wanted.removeprefix('==')} for containers, once")
        with tempfile.TemporaryDirectory(prefix="new.", dir=folder) as scratch:
            return _fetch_into(Path(scratch), target, order, settings, cancel)
    finally:
        lock.release()


def _fetch_into(scratch: Path, target: str, order: _Order, settings: EnvironmentSettings, cancel: Cancel | None) -> str:
    environment = _environment(settings, scratch)
    wanted = f"uv{order.wanted}"
    # First with what hashes the index says it has, then only that: what arrives is what was announced.
    asked = run(
        [
            order.own,
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--no-deps",
            "--generate-hashes",
            "--only-binary=:all:",
            "--python-platform",
            target,
            "-",
        ],
        cwd=scratch,
        env=environment,
        stdin=f"{wanted}\n".encode(),
        cancel=cancel,
        timeout=_PATIENCE,
        separate_errors=True,
    )
    if not asked.ok:
        return f"{wanted} was not found on the package index ({asked.last_line})"
    (scratch / "uv.txt").write_text(asked.output)
    made = scratch / "made"
    done = run(
        [
            order.own,
            "pip",
            "install",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
            "--no-config",
            "--python-platform",
            target,
            "--target",
            str(made),
            "--requirement",
            str(scratch / "uv.txt"),
        ],
        cwd=scratch,
        env=environment,
        cancel=cancel,
        timeout=_PATIENCE,
    )
    program = next((file for file in (made / "bin" / "uv", *made.glob("**/bin/uv")) if file.is_file()), None)
    if not done.ok or program is None:
        return f"{wanted} for {target} could not be fetched ({done.last_line})"
    shutil.copyfile(program, scratch / "uv")  # not linked to a cache, which would let others change it
    (scratch / "uv").chmod(0o755)
    (scratch / "uv").rename(order.place)
    return ""


def _environment(settings: EnvironmentSettings, scratch: Path) -> dict[str, str]:
    pip, _ = from_pip(settings.environ)
    indexes = with_options(pip, settings.extra_index_url, (), settings.environ).indexes
    kept: Mapping[str, str] = {
        name: value for name, value in settings.environ.items() if name not in {"UV_PYTHON", "UV_SYSTEM_PYTHON"}
    }
    quiet = {"NO_COLOR": "1", "UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never"}
    return {**kept, **quiet, "UV_CACHE_DIR": str(scratch / "cache"), **index_variables(indexes)}
