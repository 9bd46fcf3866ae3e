"""The packages of a task: which interpreter, which requirements, and a folder that has them ready to run.

``plan_environment`` decides and touches nothing, ``build_environment`` does. The room knows no API: it takes what the
task recorded and returns where the interpreter is. Importing it is cheap; what a build needs is imported by the build.
"""

from clearml_agent_clone.environment.build import build_environment, hold
from clearml_agent_clone.environment.model import (
    EnvironmentPlan,
    EnvironmentRequest,
    EnvironmentResult,
    Indexes,
    Interpreter,
    Mode,
)
from clearml_agent_clone.environment.plan import plan_environment
from clearml_agent_clone.environment.report import write_back
from clearml_agent_clone.environment.settings import EnvironmentSettings
from clearml_agent_clone.environment.store import Lease

__all__ = [
    "EnvironmentPlan",
    "EnvironmentRequest",
    "EnvironmentResult",
    "EnvironmentSettings",
    "Indexes",
    "Interpreter",
    "Lease",
    "Mode",
    "build_environment",
    "hold",
    "plan_environment",
    "write_back",
]
