"""The engine of last resort, and on request: virtualenv makes the environment, pip installs into it."""

from __future__ import annotations

import sys
from pathlib import Path

import attrs

from clearml_agent_clone.environment.engines import EngineUnavailable, Witness, Work
from clearml_agent_clone.environment.failures import diagnose
from clearml_agent_clone.environment.model import Indexes
from clearml_agent_clone.util.files import write_atomic
from clearml_agent_clone.util.process import run


@attrs.frozen
class PipEngine:
    """``virtualenv``, else ``python -m venv``; then ``pip install``."""

    name: str = "pip"

    def create(self, work: Work) -> None:
        site = ["--system-site-packages"] if work.settings.system_site_packages else []
        python = str(work.interpreter.path)
        quiet = ["--no-download", "--no-periodic-update", "--quiet"]
        ways = [
            [sys.executable, "-m", "virtualenv", *quiet, "--python", python, *site],
            [python, "-m", "venv", *site],
        ]
        last = ""
        for argv in ways:
            done = run([*argv, "--", str(work.folder)], env=work.variables({}), cancel=work.cancel)
            if done.ok:
                return
            last = done.last_line
        raise EngineUnavailable(f"neither virtualenv nor venv can make an environment: {last}")

    def install(self, work: Work, python: Path) -> None:
        plan = work.plan
        file = work.scratch / "requirements.txt"
        content = [*option_lines(plan.pip_indexes), *plan.lines]
        write_atomic(file, "".join(f"{line}\n" for line in content), durable=False)
        argv = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-r", str(file)]
        if plan.constraints:
            constraints = work.scratch / "constraints.txt"
            write_atomic(constraints, "".join(f"{line}\n" for line in plan.constraints), durable=False)
            argv += ["-c", str(constraints)]
        argv += [flag for flag in plan.engine_flags if flag not in argv]
        argv += work.settings.extra_pip_install_flags
        if work.settings.force_upgrade:
            argv.append("--upgrade")
        witness = Witness(work.console)
        done = run(argv, cwd=work.scratch, env=work.variables({}), console=witness, cancel=work.cancel)
        if not done.ok:
            raise diagnose(witness.testimony(done.output), plan.indexes.shown).error()


def option_lines(indexes: Indexes) -> list[str]:
    """``indexes`` as lines of a requirement file, which may carry passwords where arguments may not."""
    lines = [f"--index-url {indexes.main}"] if indexes.main else []
    lines += [f"--extra-index-url {url}" for url in indexes.extra]
    lines += [f"--find-links {place}" for place in indexes.find_links]
    lines += [f"--trusted-host {host}" for host in indexes.trusted]
    return [*lines, "--no-index"] if indexes.none else lines
