"""A program of the user's own that makes the environment in our place (``agent.custom_build_script``).

It gets the task and its checkout in variables, and answers with a JSON file. An answer that cannot be used counts as
none, as for the classic agent: the environment is then made as usual.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import attrs

from clearml_agent_clone.environment.model import EnvironmentResult
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.files import private_dir, write_atomic
from clearml_agent_clone.util.process import Cancel, Console, run

_LONGEST = 120_000  # bytes; Linux starts no program with a variable over 128 KiB


class _UnusableError(Exception):
    """There is no answer, or none that says how to go on."""


@attrs.frozen
class BuildOrder:
    """What the program is told.

    Args:
        script: its path; variables, its own among them, and ``~`` are filled in.
        task: the whole task, as the server has it.
        entry_point: as recorded.
        working_dir: as recorded.
        root: the checkout.
        folder: a private folder that goes with the task: for the answer, and for an environment if it wants one.
        environ: the variables it inherits.
    """

    script: str
    task: Mapping[str, Any] = attrs.field(repr=False)
    entry_point: str
    working_dir: str
    root: Path
    folder: Path
    environ: Mapping[str, str] = attrs.field(repr=False)


@attrs.frozen
class Built:
    """What the program answered: the interpreter (or shell) to run, and where and what it is to run.

    ``entry_point`` and ``working_dir`` are empty and None where it left those of the task.
    """

    binary: Path
    entry_point: str = ""
    working_dir: Path | None = None

    def as_environment(self) -> EnvironmentResult:
        """The interpreter as an environment, whose programs go first on PATH if it is one of its own."""
        folder = self.binary.parent
        own = any((folder.parent / mark).exists() for mark in ("pyvenv.cfg", "conda-meta"))
        return EnvironmentResult(
            python=self.binary, bin_dir=folder if own else None, engine="agent.custom_build_script"
        )


def run_build_script(order: BuildOrder, console: Console, cancel: Cancel | None = None) -> Built | None:
    """Run the program; None when it is not there or gave no answer that can be used, which the console is told.

    Raises:
        UserError: code ``build-script-failed``; it ended with another exit code than 0. ``program-missing``; it cannot
            be started.
        Cancelled: ``cancel`` was set; it and what it started are gone.
    """
    private_dir(order.folder)
    answer = order.folder / "output.json"
    answer.unlink(missing_ok=True)
    told = _variables(order, answer)
    script = Path(Template(order.script).safe_substitute({**order.environ, **told})).expanduser()
    if not script.is_file():
        console.say(f"clearml_agent: WARNING: agent.custom_build_script: there is no file {script}. Going on without")
        return None
    console.say(f"Running agent.custom_build_script {script}")
    environ = {**order.environ, **told, "CLEARML_AGENT_CUSTOM_BUILD_SCRIPT": str(script)}
    done = run([script], cwd=order.root, env=environ, console=console, cancel=cancel)
    if not done.ok:
        raise UserError(
            f"agent.custom_build_script {script} ended with exit code {done.exit_code}: {done.last_line or 'no output'}",
            remedy="Correct the script, or unset agent.custom_build_script",
            code="build-script-failed",
        )
    try:
        return _answered(answer)
    except _UnusableError as error:
        console.say(f"clearml_agent: WARNING: agent.custom_build_script {script}: {error}. Going on without it")
        return None


def _variables(order: BuildOrder, answer: Path) -> dict[str, str]:
    whole = order.folder / "task.json"
    text = json.dumps(order.task, separators=(",", ":"), default=str)
    write_atomic(whole, text, durable=False)
    if len(text.encode()) > _LONGEST:  # a large diff; the file has it
        script = {name: value for name, value in (order.task.get("script") or {}).items() if name != "diff"}
        text = json.dumps({**order.task, "script": script}, separators=(",", ":"), default=str)
    if len(text.encode()) > _LONGEST:
        text = json.dumps({"id": order.task.get("id", "")})
    return {
        "CLEARML_CUSTOM_BUILD_TASK_CONFIG_JSON": text,
        "CLEARML_CUSTOM_BUILD_TASK_CONFIG_FILE": str(whole),
        "CLEARML_TASK_SCRIPT_ENTRY": order.entry_point,
        "CLEARML_TASK_WORKING_DIR": order.working_dir,
        "CLEARML_VENV_PATH": str(order.folder / "venv"),
        "CLEARML_GIT_ROOT": str(order.root),
        "CLEARML_CUSTOM_BUILD_OUTPUT": str(answer),
    }


def _answered(file: Path) -> Built:
    """What stands in ``file``.

    Raises:
        _UnusableError: it cannot be used, and why.
    """
    try:
        text = file.read_text()
    except OSError:
        text = ""
    if not text.strip():
        raise _UnusableError("it wrote nothing to CLEARML_CUSTOM_BUILD_OUTPUT")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _UnusableError(f"what it wrote to CLEARML_CUSTOM_BUILD_OUTPUT is not JSON ({error})") from None
    if not isinstance(data, dict) or not isinstance(data.get("binary"), str):
        raise _UnusableError('what it wrote to CLEARML_CUSTOM_BUILD_OUTPUT has no "binary"')
    binary = Path(data["binary"])
    if not (binary.is_absolute() and binary.is_file() and os.access(binary, os.X_OK)):
        raise _UnusableError(f'its "binary" {binary} is not the absolute path of a program')
    entry, folder = str(data.get("entry_point") or ""), str(data.get("working_dir") or "")
    if folder and not Path(folder).is_dir():
        raise _UnusableError(f'its "working_dir" {folder} is not a folder')
    if entry and not Path(folder, entry).is_file():
        raise _UnusableError(f'its "entry_point" {entry} is not a file')
    return Built(binary, entry, Path(folder) if folder else None)
