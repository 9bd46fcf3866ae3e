"""The code of a task: which it is, and how it gets on this machine exactly as it was recorded.

plan = plan_source(task.script, settings)                 # no side effects
result = fetch_source(plan, folder, console, cancel)      # mirror → checkout → submodules → diff
check_entry_point(result)
with lend_to_installers(plan, folder) as variables: ...   # git credentials for pip and uv
"""

from __future__ import annotations

from clearml_agent_clone.source.fetch import check_entry_point, fetch_source
from clearml_agent_clone.source.installers import lend_to_installers
from clearml_agent_clone.source.plan import Revision, SourcePlan, plan_source
from clearml_agent_clone.source.result import SourceResult
from clearml_agent_clone.source.settings import GitCredential, SourceSettings

__all__ = [
    "GitCredential",
    "Revision",
    "SourcePlan",
    "SourceResult",
    "SourceSettings",
    "check_entry_point",
    "fetch_source",
    "lend_to_installers",
    "plan_source",
]
