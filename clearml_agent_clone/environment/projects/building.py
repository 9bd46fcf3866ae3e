"""Have a package's own backend install it from the checkout, in the layer of one task."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs

from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.environment.engines.uv import UvEngine
from clearml_agent_clone.environment.failures import diagnose
from clearml_agent_clone.environment.model import EnvironmentPlan
from clearml_agent_clone.environment.uv_tools import find_uv
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir
from clearml_agent_clone.util.process import Cancel, Console, run


def build_into(layer: Path, folder: Path, plan: EnvironmentPlan, console: Console, cancel: Cancel | None) -> None:
    """Install the package in ``folder`` into ``layer``, so that the checkout is what is imported.

    Raises:
        UserError: code ``packages-failed``.
    """
    program = find_uv(plan.settings.environ)
    if not program:
        raise UserError("uv is not installed", remedy="Install it: pip install uv", code="packages-failed")
    scratch = private_dir(layer / "scratch")
    work = Work(plan, plan.interpreter, layer, scratch, console, cancel, {})
    _Builder(program).build(work, folder)


@attrs.frozen
class _Builder(UvEngine):
    def build(self, work: Work, folder: Path) -> None:
        argv = [self.program, "pip", "install", "--python", str(work.python), "--no-deps", "--editable", str(folder)]
        try:
            done = run(argv, cwd=work.scratch, env=self._environment(work), console=work.console, cancel=work.cancel)
        finally:
            shutil.rmtree(work.scratch, ignore_errors=True)
        if not done.ok:
            raise diagnose(done.output, work.plan.indexes.shown).error()
