"""What the user's process needs to be in a conda environment: what ``conda activate`` would set, found out once.

Values may hold ``${NAME}`` where a script put something before or after what was there: ``fill`` puts in what is there
when the task starts.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from clearml_agent_clone.environment.engines import Work
from clearml_agent_clone.util.files import read_json, write_atomic
from clearml_agent_clone.util.process import run

_PATIENCE = 60.0
_SCRIPT = """for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do
    . "$script"
done
"""
# The end is told by a trap, so that a script that exits does not take the others' answers along.
_ASKING = """trap '"$ASKED_PYTHON" -c "$ASKED_QUESTION"' EXIT
"""
_QUESTION = "import json, os; json.dump(dict(os.environ), open(os.environ['ASKED_ANSWER'], 'w'))"
_NOTHING = "/.nothing-there"  # stands for a list of folders that is empty here and may not be when the task starts
_LISTS = ("LD_LIBRARY_PATH", "PKG_CONFIG_PATH", "CMAKE_PREFIX_PATH", "MANPATH", "XDG_DATA_DIRS", "PYTHONPATH")
_SHELLS_OWN = frozenset({"_", "SHLVL", "PWD", "OLDPWD", "BASH_ENV", "ENV"})
_FILLED = re.compile(r"\$\{([A-Z_]+)\}")


def variables_of(prefix: Path, work: Work) -> dict[str, str]:
    """The variables of the environment ``prefix``. Runs its activation scripts, if it has any."""
    own = {
        "CONDA_PREFIX": str(prefix),
        "CONDA_DEFAULT_ENV": str(prefix),
        "CONDA_SHLVL": "1",
        **_stated(prefix),
    }
    scripts = sorted(prefix.glob("etc/conda/activate.d/*.sh"))
    return own | _scripted(prefix, own, work) if scripts else own


def fill(variables: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """``variables`` with what is ``inherited`` put in."""

    def value(text: str) -> str:
        if "${" not in text:
            return text
        filled = _FILLED.sub(lambda match: inherited.get(match[1], ""), text)
        return ":".join(part for part in filled.split(":") if part)

    return {name: value(text) for name, text in variables.items()}


def state(prefix: Path, variables: Mapping[str, str]) -> None:
    """Write ``variables`` down where conda keeps what an environment sets."""
    if variables:
        file = prefix / "conda-meta" / "state"
        before = read_json(file)
        before = before if isinstance(before, dict) else {"version": 1}
        write_atomic(file, json.dumps({**before, "env_vars": dict(variables)}), mode=0o644, durable=False)


def _stated(prefix: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for file in sorted(prefix.glob("etc/conda/env_vars.d/*.json")):
        data = read_json(file)
        found.update({str(name): str(text) for name, text in (data if isinstance(data, dict) else {}).items()})
    data = read_json(prefix / "conda-meta" / "state")
    told = data.get("env_vars") if isinstance(data, dict) else None
    found.update({str(name): str(text) for name, text in (told if isinstance(told, dict) else {}).items()})
    return {name: text for name, text in found.items() if text != "***unset***"}


def _scripted(prefix: Path, own: Mapping[str, str], work: Work) -> dict[str, str]:
    """What the activation scripts make of ``own``: what they add and change."""
    shell = shutil.which("bash") or "/bin/sh"
    script, answer = work.scratch / "activate.sh", work.scratch / "activated.json"
    write_atomic(script, _ASKING + _SCRIPT, durable=False)
    environ = work.settings.environ
    path = f"{prefix / 'bin'}:{environ.get('PATH') or os.defpath}"
    before = {name: environ[name] for name in ("HOME", "USER", "LANG", "TMPDIR") if name in environ}
    before |= {name: environ.get(name) or _NOTHING for name in _LISTS} | dict(own) | {"PATH": path}
    asking = {"ASKED_PYTHON": str(prefix / "bin/python"), "ASKED_QUESTION": _QUESTION, "ASKED_ANSWER": str(answer)}
    options = ["--noprofile", "--norc"] if shell.endswith("bash") else []
    # A PYTHONPATH that stands for nothing leads nowhere; the scripts' own interpreter is asked in isolation anyway.
    done = run(
        [shell, *options, str(script)],
        cwd=work.scratch,
        env=before | asking,
        console=work.console,
        cancel=work.cancel,
        timeout=_PATIENCE,
    )
    after = read_json(answer)
    if not isinstance(after, dict):
        work.console.say(f"The activation scripts of the environment failed: {done.last_line}")
        return {}
    changed = {name: str(text) for name, text in after.items() if before.get(name) != text}
    kept = {name: text for name, text in changed.items() if name not in _SHELLS_OWN and name not in asking}
    return {name: _template(name, text, before.get(name, ""), path) for name, text in kept.items()}


def _template(name: str, text: str, before: str, path: str) -> str:
    """``text`` with ``${NAME}`` in place of what was there before."""
    inherited = path.partition(":")[2] if name == "PATH" else before
    if name not in (*_LISTS, "PATH") or not inherited or inherited not in text:
        return text
    return text.replace(inherited, f"${{{name}}}", 1)
