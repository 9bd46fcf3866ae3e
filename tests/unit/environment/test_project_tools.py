"""Tool environments: whole or not there, and built once. A small package stands for poetry."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clearml_agent_clone.environment import EnvironmentSettings
from clearml_agent_clone.environment.model import EnvironmentResult
from clearml_agent_clone.environment.projects.tools import tool
from tests.helpers.consoles import Recorder

KILLED = """
import os, signal, sys
from pathlib import Path
from clearml_agent_clone.environment import EnvironmentSettings, store
from clearml_agent_clone.environment.projects.tools import tool

class Console:
    def say(self, text):
        if text.startswith("Installing"):
            os.kill(os.getpid(), signal.SIGKILL)
    write = say

state, links, cache = map(Path, sys.argv[1:])
environ = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(links)}
tool(("tool",), EnvironmentSettings(state, None, state, cache, environ=environ), Console(), None)
"""


def speak(made: EnvironmentResult) -> str:
    assert made.bin_dir is not None
    return subprocess.run([made.bin_dir / "tool"], check=True, capture_output=True, text=True).stdout


def test_a_builder_that_is_killed_leaves_nothing_that_is_taken_for_the_tool(
    settings: EnvironmentSettings, links: Path, uv_cache: Path
) -> None:
    state = settings.state_dir
    killed = subprocess.run([sys.executable, "-c", KILLED, str(state), str(links), str(uv_cache)], check=False)
    assert killed.returncode == -signal.SIGKILL
    root = next((state / "tools").iterdir())
    left = [place for place in root.iterdir() if place.is_dir()]
    assert len(left) == 1
    assert not (left[0] / "meta.json").exists(), "it was killed half-way"
    made = tool(("tool",), settings, Recorder(), None)
    assert speak(made) == "1.0\n"
    assert not left[0].exists(), "what it left is gone"
    again = tool(("tool",), settings, Recorder(), None)
    assert (again.reused, again.bin_dir) == (True, made.bin_dir)


def test_two_tasks_that_need_a_tool_at_once_build_it_once(settings: EnvironmentSettings) -> None:
    made: list[EnvironmentResult] = []
    threads = [
        threading.Thread(target=lambda: made.append(tool(("tool",), settings, Recorder(), None))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.reused for result in made) == [False, True]
    assert made[0].bin_dir == made[1].bin_dir


def test_each_version_has_a_place_of_its_own(settings: EnvironmentSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Recorder()
    one, other = (tool((f"alpha=={version}",), settings, console, None) for version in ("1.0", "2.0"))
    assert one.bin_dir != other.bin_dir
    assert (one.installed, other.installed) == (("alpha==1.0",), ("alpha==2.0",))
    assert one.bin_dir is not None
    assert one.bin_dir.is_relative_to(settings.state_dir)
    assert "alpha" not in console.text, "what is in a tool is not the task's"
    assert os.environ["PATH"]
