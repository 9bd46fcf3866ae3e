"""Where secrets of the agent and of the task are not, while a container runs and after it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.helpers.docker_tools import HOST, IMAGE, contained, containers, docker
from tests.helpers.worker_tools import Agent

pytestmark = pytest.mark.engine

GIT_PASS = "git-passw0rd-of-the-agent"
TOKEN = "t0ken-of-the-task"
EXTRA = "extra-s3cret-of-the-owner"

CODE = f"""\
import os, time
conf = open(os.environ["CLEARML_CONFIG_FILE"]).read()
print("has", os.environ.get("MY_TOKEN") == "{TOKEN[:6]}" + "{TOKEN[6:]}", os.environ["DB_PASSWORD"][:5], flush=True)
print("up", flush=True)
time.sleep(300)
"""


def readable_by_others(top: Path) -> str:
    """What of ``top`` another user of this machine could read."""
    found = []
    for path in top.rglob("*"):
        parents = [path, *list(path.parents)[: len(path.relative_to(top).parts)]]
        if path.is_file() and all(part.stat().st_mode & (0o004 if part == path else 0o001) for part in parents):
            found.append(path.read_text(errors="replace"))
    return "\n".join(found)


def test_secrets_are_where_they_are_needed_and_nowhere_else(boxed: Agent) -> None:
    access = boxed.server.secret_key
    boxed.variables = {
        **boxed.variables,
        "CLEARML_AGENT_GIT_PASS": GIT_PASS,
        "CLEARML_AGENT__AGENT__EXTRA_DOCKER_ARGUMENTS": f'["{HOST}", "-e", "DB_PASSWORD={EXTRA}"]',
    }
    task = contained(boxed, CODE, arguments=f"-e MY_TOKEN={TOKEN}")
    child = subprocess.Popen(
        boxed.command("execute", "--id", task, "--docker"),
        env=boxed.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        boxed.shows(task, "up")
        (container,) = containers(task)
        places = {
            "docker inspect": docker("inspect", container).stdout,
            "docker history": docker("history", "--no-trunc", IMAGE).stdout,
            "docker logs": docker("logs", container).stdout,
            "process lists": subprocess.run(["ps", "axww"], capture_output=True, text=True, check=True).stdout,
            "process list of the container": docker("top", container).stdout,
            "host files": readable_by_others(boxed.home),
            "environment of a new program": docker("exec", container, "env").stdout,
            "commands of processes": "\n".join(
                path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()
            ),
        }
        inside = docker("exec", container, "sh", "-c", "cat /tmp/.clearml-*/clearml.conf").stdout
    finally:
        boxed.server.call("tasks.stop", task=task)
        output, _ = child.communicate(timeout=60)
    shown = {**places, "terminal": output, "console": boxed.console(task)}
    for secret in (access, GIT_PASS, TOKEN, EXTRA):
        assert [name for name, text in shown.items() if secret in text] == [], secret[:6]
    assert "has True extra" in output
    assert access in inside
    assert GIT_PASS not in inside
    assert containers(task) == []
    found = subprocess.run(["grep", "-rl", GIT_PASS, str(boxed.state)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
