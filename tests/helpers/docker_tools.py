"""A real docker for the tests, and what they ask it beside the agent."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.helpers.worker_tools import Agent

IMAGE = os.environ.get("CLEARML_TEST_IMAGE", "local/python:bookworm")
HOST = "--network=host"
"""The test's server listens on this machine's loopback."""


@functools.cache
def missing() -> str:
    """Why there is no docker to test against; nothing when there is one."""
    if shutil.which("docker") is None:
        return "docker is not installed (bash .ci/engines up)"
    if docker("info", check=False).returncode:
        return "docker does not answer (bash .ci/engines up)"
    if docker("image", "inspect", IMAGE, check=False).returncode:
        return f"image {IMAGE} is not there (bash .ci/engines up)"
    return ""


def need_docker() -> None:
    reason = missing()
    if reason:
        pytest.skip(reason)


def docker(*words: str, check: bool = True, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *words], input=data, capture_output=True, check=False, timeout=120)
    answer = subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert done.returncode == 0 or not check, answer.stderr
    return answer


def containers(task: str) -> list[str]:
    """Ids of the task's containers, running or not."""
    return docker("ps", "-aq", "--no-trunc", "--filter", f"label=clearml-task-id={task}").stdout.split()


def inspected(container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(docker("inspect", container).stdout)[0]
    return found


def contained(agent: Agent, code: str = "print('hello')\n", image: str = IMAGE, **container: Any) -> str:
    """A task that is to run in a container."""
    task = agent.task(code, binary="python3")
    fields = {"image": image, **container}
    agent.server.call("tasks.edit", task=task, force=True, container=fields)
    return task
