"""Make the demo's task: with the real SDK where it is installed, else over the REST API.

Run as a module with the fields as JSON, it is the SDK's side: a process of its own, because the SDK reads its
configuration when it is imported and starts threads that do not end before the process does.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.api.session import Session
from clearml_agent_clone.demo.project import SCRIPT, Project
from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.util.process import run

_NAME = "Fit a line"
_EPOCHS = "8"
_MARK = "task id: "


def has_sdk() -> bool:
    """Whether this interpreter can import the ClearML SDK."""
    return importlib.util.find_spec("clearml") is not None


def record_with_sdk(project: Project, environ: Mapping[str, str]) -> str:
    """The id of a new task, made by ``clearml.Task.create``.

    Raises:
        Fatal: the SDK failed; the message carries its last line.
    """
    fields = json.dumps({"repo": project.url, "commit": project.commit, "diff": project.diff})
    done = run([sys.executable, "-m", __name__, fields], env=environ, timeout=60)
    found = [line.removeprefix(_MARK) for line in done.output.splitlines() if line.startswith(_MARK)]
    if not done.ok or not found:
        raise Fatal(f"the ClearML SDK could not create the task: {done.last_line}", code="demo-sdk-failed")
    return found[-1]


def record_with_api(project: Project, session: Session) -> str:
    """The id of a new task, made by ``tasks.create``; it needs no packages."""
    home = session.call("projects.create", {"name": "demo", "description": "Made by clearml-agent demo"})["id"]
    script: dict[str, Any] = {
        "repository": project.url,
        "branch": "main",
        "version_num": project.commit,
        "entry_point": SCRIPT,
        "working_dir": ".",
        "diff": project.diff,
        "binary": "python",
        "requirements": {"pip": ""},
    }
    body = {"name": _NAME, "type": "training", "project": home, "script": script}
    return str(session.call("tasks.create", body)["id"])


def _main() -> None:
    fields = json.loads(sys.argv[1])
    from clearml import Task, __version__  # noqa: PLC0415 - this module is imported where the SDK is not installed

    task: Any = Task.create(
        project_name="demo",
        task_name=_NAME,
        repo=fields["repo"],
        branch="main",
        commit=fields["commit"],
        script=SCRIPT,
        working_directory=".",
        packages=[f"clearml=={__version__}"],
        argparse_args=[("epochs", _EPOCHS)],
        add_task_init_call=False,
    )
    task.set_script(diff=fields["diff"])
    sys.stdout.write(f"{_MARK}{task.id}\n")


if __name__ == "__main__":
    _main()
