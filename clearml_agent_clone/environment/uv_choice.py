"""Which uv installs: the one that the agent brings, unless another version is asked for."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

import attrs

from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.engines.pip import matches
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.process import run

_KEY = "agent.package_manager.uv_version"


def uv_program(work: Work) -> str:
    """Path of the uv program for ``work``; empty when there is none. One of another version is installed beside it.

    Raises:
        UserError: code ``packages-failed``; the version that is asked for cannot be had.
    """
    program = find_uv(work.settings.environ)
    specs = uv_specs(work.settings.installing.uv_version)
    if not specs or work.settings.environ.get("CLEARML_BOOTSTRAP_UV_EXEC", "").strip():
        return program
    version = uv_version(program)
    if version and all(matches(version, spec) for spec in specs):
        return program
    from clearml_agent_clone.environment.projects.tools import tool  # noqa: PLC0415 - it needs us; by configuration only

    wanted = ",".join(specs)
    work.console.say(f"Installing uv {wanted}, because {_KEY} asks for it and the agent's is {version or 'missing'}")
    try:
        own = attrs.evolve(work.settings, installing=attrs.evolve(work.settings.installing, uv_version=()))
        result = tool((f"uv{wanted}",), own, work.console, work.cancel)
    except UserError as error:
        raise UserError(
            f"{_KEY} {wanted} cannot be had: {error.message}", remedy=error.remedy, code=error.code
        ) from error
    if result.lease is not None:
        result.lease.release()  # what was used in the last minutes is not removed
    assert result.bin_dir is not None  # an environment of its own has one
    return os.fspath(result.bin_dir / "uv")


def uv_specs(versions: Sequence[str]) -> tuple[str, ...]:
    """``uv_version`` as specifiers: ``0.5.1`` → ``==0.5.1``."""
    given = [version.strip() for version in versions if version.strip()]
    return tuple(f"=={version}" if version[0].isdigit() else version for version in given)


def uv_version(program: str) -> str:
    """What ``program`` says its version is; empty when it does not start."""
    if not program:
        return ""
    try:
        done = run([program, "--version"], timeout=10.0)
    except (UserError, OSError):
        return ""
    match = re.match(r"uv (\d[\w.+-]*)", done.output)
    return match[1] if match else ""
