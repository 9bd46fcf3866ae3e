"""Which engine installs a project."""

from __future__ import annotations

from clearml_agent_clone.environment.engines import Engine, Work
from clearml_agent_clone.environment.engines.pip import PipEngine
from clearml_agent_clone.environment.engines.poetry import PoetryEngine
from clearml_agent_clone.environment.engines.uv import UvEngine
from clearml_agent_clone.environment.engines.uv_project import PylockEngine, UvProjectEngine
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError

PROJECT_ENGINES = frozenset({"poetry", "uv sync", "uv pip sync"})


def project_engine(work: Work, program: str = "") -> Engine:
    """The engine that the plan names; ``program`` is the uv to use, empty for the one that the agent brings.

    Raises:
        UserError: code ``packages-failed``; it needs uv, and uv is not installed.
    """
    program = program or find_uv(work.settings.environ)
    if work.plan.engine == "poetry":
        return PoetryEngine(UvEngine(program) if program else PipEngine())
    if not program:
        raise UserError("uv is not installed", remedy="Install it: pip install uv", code="packages-failed")
    return (UvProjectEngine if work.plan.engine == "uv sync" else PylockEngine)(program)
