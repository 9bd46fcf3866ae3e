"""What this machine has to install conda packages with."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.errors import UserError

_KINDS = ("micromamba", "mamba", "conda")
_VARIABLES = ("MAMBA_EXE", "CONDA_EXE")
RATTLER = "py-rattler"


@attrs.frozen
class Tool:
    """What installs conda packages: ``kind`` is the program's name, ``program`` its path; empty for py-rattler."""

    kind: str
    program: str = ""

    @property
    def described(self) -> str:
        """For the console."""
        return self.program or f"{RATTLER}, no micromamba, mamba or conda is on PATH"


def find_tool(environ: Mapping[str, str]) -> Tool:
    """What this machine has.

    Raises:
        UserError: code ``conda-missing``; it has nothing.
    """
    for kind in _KINDS:
        program = _program(kind, environ)
        if program:
            return Tool(kind, program)
    if importlib.util.find_spec("rattler") is not None:
        return Tool(RATTLER)
    raise UserError(
        "agent.package_manager.type is conda, and this machine has no micromamba, mamba or conda on PATH",
        remedy='Install one of them, or what the agent can do it with by itself: pip install "clearml-agent-clone[conda]"',
        code="conda-missing",
    )


def base_prefix(environ: Mapping[str, str]) -> Path | None:
    """The base environment of the conda (or mamba) that is installed; None when there is none."""
    for kind in ("conda", "mamba"):
        program = _program(kind, environ)
        if program:
            return Path(program).parent.parent
    root = environ.get("MAMBA_ROOT_PREFIX", "")
    return Path(root) if root else None


def _program(kind: str, environ: Mapping[str, str]) -> str:
    found = shutil.which(kind, path=environ.get("PATH", "")) or ""
    named = (environ.get(name, "") for name in _VARIABLES)
    return found or next((path for path in named if Path(path).name == kind and shutil.which(path)), "")
