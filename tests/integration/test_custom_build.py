"""``agent.custom_build_script`` and tasks without Python, through ``execute``."""

from __future__ import annotations

import json
import sys

from tests.helpers.worker_tools import Agent


def _script(agent: Agent, text: str) -> dict[str, str]:
    path = agent.home / "build.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"CLEARML_AGENT_CUSTOM_BUILD_SCRIPT": str(path)}


def test_a_script_of_ones_own_makes_the_environment(agent: Agent) -> None:
    answer = json.dumps({"binary": sys.executable, "entry_point": "other.py", "working_dir": str(agent.home)})
    (agent.home / "other.py").write_text("import sys\nprint('other', sys.executable)\n")
    variables = _script(agent, f"echo building $CLEARML_TASK_ID_SEEN\necho '{answer}' > $CLEARML_CUSTOM_BUILD_OUTPUT")
    task = agent.task(requirements={"pip": "no-such-package-anywhere==1\n"})
    ended = agent.run("execute", "--id", task, **variables)
    assert ended.returncode == 0, ended.stderr
    assert f"other {sys.executable}" in ended.stdout
    assert "building" in agent.console(task)
    assert agent.get(task)["script"]["requirements"] == {"pip": "no-such-package-anywhere==1\n"}


def test_one_that_fails_fails_the_task(agent: Agent) -> None:
    task = agent.task()
    ended = agent.run("execute", "--id", task, **_script(agent, "echo no compiler; exit 3"))
    assert ended.returncode == 1
    seen = agent.get(task)
    assert seen["status"] == "failed"
    assert "ended with exit code 3: no compiler" in seen["status_reason"]


def test_a_shell_script_needs_no_python(agent: Agent) -> None:
    task = agent.task("echo from $0; exit 4\n", binary="bash", entry_point="job.sh")
    ended = agent.run("execute", "--id", task)
    assert "Python: none needed (a shell script without packages)" in ended.stdout
    assert "from job.sh" in ended.stdout
    assert ended.returncode == 4
    assert not (agent.home / ".clearml" / "venvs-cache").exists()


def test_the_agents_own_python_as_it_is(agent: Agent) -> None:
    task = agent.task("import sys; print('by', sys.executable)\n", requirements={"pip": "no-such-package==1\n"})
    ended = agent.run("execute", "--id", task, CLEARML_AGENT_SKIP_PYTHON_ENV_INSTALL="1")
    assert ended.returncode == 0, ended.stdout
    assert f"by {sys.executable}" in ended.stdout
