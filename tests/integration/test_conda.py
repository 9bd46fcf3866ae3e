"""Tasks in conda environments: the runner, a channel in a folder, no conda program on the machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.helpers.conda_channel import MINOR, Channel, File
from tests.helpers.worker_tools import Agent

CODE = """import os, subprocess, sys
import alpha
print("alpha", alpha.VERSION, alpha.FROM)
print("prefix", os.environ["CONDA_PREFIX"] == sys.prefix, os.environ.get("VIRTUAL_ENV"))
print("script", subprocess.run(["alpha-say"], capture_output=True, text=True).stdout.strip(), os.environ["ACTS"])
"""


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    made = Channel(tmp_path / "channel")
    made.add_python()
    made.add_module("alpha", "1.0", script="alpha-say")
    made.add("acts", "1.0", {"etc/conda/activate.d/acts.sh": File(b"export ACTS=on\n")})
    return made


def test_a_task_in_a_conda_environment(agent: Agent, channel: Channel) -> None:
    settings = {
        "CLEARML_AGENT__AGENT__PACKAGE_MANAGER__TYPE": "conda",
        "CLEARML_AGENT__AGENT__PACKAGE_MANAGER__CONDA_CHANNELS": json.dumps([channel.url]),
        "CLEARML_AGENT__AGENT__PACKAGE_MANAGER__CONDA_FULL_ENV_UPDATE": "true",
        "PATH": os.defpath,
        "VIRTUAL_ENV": "/of-the-agent",
    }
    task = agent.task(CODE, requirements={"pip": "alpha == 1.0\n", "conda": "alpha == 1.0\nacts == 1.0\n"})
    for reused in (False, True):
        ended = agent.run("execute", "--id", task, **settings)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "alpha 1.0 conda\nprefix True None\nscript 1.0 on\n" in ended.stdout
        assert ("Looking for 3 packages in 1 channel" in ended.stdout) != reused
        written = agent.get(task)["script"]["requirements"]
        assert json.loads(written["conda_env_json"])["dependencies"][:2] == ["acts=1.0=0", "alpha=1.0=0"]
        assert written["org_conda"] == "alpha == 1.0\nacts == 1.0\n"
        # The whole environment is recorded now, and comes to the same packages under a key of its own.
        settings["CLEARML_AGENT__AGENT__PACKAGE_MANAGER__FORCE_ORIGINAL_REQUIREMENTS"] = "true"
    gone = agent.task(CODE, requirements={"pip": "", "conda": "gamma == 1.0\n"})
    ended = agent.run("execute", "--id", gone, **settings)
    assert ended.returncode == 1
    assert f'package "gamma ==1.0" is in none of the channels {channel.url}' in agent.get(gone)["status_reason"]
    shown = agent.run("execute", "--id", gone, "--dry-run", **settings)
    assert f"python {MINOR}: script.binary" in shown.stdout
    assert f"py-rattler, no micromamba, mamba or conda is on PATH), from {channel.url}" in shown.stdout
