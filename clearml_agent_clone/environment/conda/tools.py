"""Have conda packages installed: by micromamba, mamba or conda where one is there, else by py-rattler in a child."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.environment.conda.condarc import read_condarc
from clearml_agent_clone.environment.conda.outcome import Outcome, read_output, read_report
from clearml_agent_clone.environment.conda.programs import Tool
from clearml_agent_clone.environment.conda.specs import Spec
from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.util.files import private_dir, write_atomic
from clearml_agent_clone.util.process import run

_CHILD = Path(__file__).with_name("rattler_child.py")  # started by its path: it needs nothing of the agent
# What each calls the same two things. They ask for nothing: CONDA_ALWAYS_YES and its twin are set.
_COMMANDS = {
    ("micromamba", False): ("create",),
    ("micromamba", True): ("install",),
    ("mamba", False): ("env", "create"),
    ("mamba", True): ("env", "update"),
    ("conda", False): ("env", "create"),
    ("conda", True): ("env", "update"),
}


@attrs.frozen
class Attempt:
    """One try to have ``specs`` in ``prefix``.

    Args:
        channels: best first.
        update: the environment is there, and what it has stays.
    """

    tool: Tool
    channels: Sequence[str]
    specs: Sequence[Spec]
    prefix: Path
    update: bool = False

    def run(self, work: Work) -> Outcome:
        """Do it; what cannot be had is said in the outcome, not raised.

        Raises:
            Cancelled: the work was given up.
        """
        if self.tool.program:
            return self._by_program(work)
        return self._by_rattler(work)

    def _by_program(self, work: Work) -> Outcome:
        file = work.scratch / "environment.yml"
        # "nodefaults": no channels but these. JSON is YAML, and needs no library to write.
        wanted = {"channels": [*self.channels, "nodefaults"], "dependencies": [spec.text for spec in self.specs]}
        write_atomic(file, json.dumps(wanted), durable=False)
        command = _COMMANDS[self.tool.kind, self.update]
        argv = [self.tool.program, *command, "--prefix", str(self.prefix), "--file", str(file)]
        done = run(argv, cwd=work.scratch, env=_variables(work), console=work.console, cancel=work.cancel)
        if done.ok and not (self.prefix / "conda-meta").is_dir():
            return Outcome(reason=f"{self.tool.program} says that it is done, and there is no {self.prefix}/conda-meta")
        return Outcome(ok=True) if done.ok else read_output(done.output, self.specs)

    def _by_rattler(self, work: Work) -> Outcome:
        settings = work.settings
        rc = read_condarc(work.variables({}))
        asked = {
            "channels": [url for channel in self.channels for url in rc.urls(channel)],
            "specs": [{"name": spec.name, "text": rc.spec(spec.text)} for spec in self.specs],
            "prefix": str(self.prefix),
            "update": self.update,
            "cache": str(private_dir(settings.conda.packages_dir or work.scratch / "packages")),
        }
        done = run(
            [sys.executable, str(_CHILD)],
            cwd=work.scratch,
            env=_variables(work) | rc.variables,
            stdin=json.dumps(asked).encode(),
            console=work.console,
            cancel=work.cancel,
            separate_errors=True,
        )
        return read_report(done.output, done.last_line)


def _variables(work: Work) -> dict[str, str]:
    cuda = work.settings.conda.cuda
    return work.variables(
        {
            "CONDA_ALWAYS_YES": "true",
            "MAMBA_ALWAYS_YES": "true",
            "MAMBA_NO_BANNER": "1",
            "NO_COLOR": "1",
            "PYTHONUNBUFFERED": "1",
            **({"CONDA_OVERRIDE_CUDA": cuda if cuda.strip("0.") else ""} if cuda else {}),
        }
    )
