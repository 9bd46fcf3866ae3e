"""What users get wrong: one clear line on the terminal, the same reason on the task, exit 1, nothing half-written."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.worker_tools import Agent


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    git(folder, "init")
    (folder / "train.py").write_text("print('trained')\n")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "first")
    return folder


_BAD_DIFF = "diff --git a/train.py b/train.py\n--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-never there\n+new\n"


def tasks_that_cannot_run(repository: Path) -> dict[str, tuple[dict[str, Any], str]]:
    url = repository.as_uri()
    here: dict[str, Any] = {"repository": url, "branch": "main", "entry_point": "train.py", "working_dir": "."}
    here["diff"] = ""
    return {
        "no script": ({"diff": "", "entry_point": ""}, "script"),
        "unreachable repository": ({**here, "repository": "http://127.0.0.1:9/none.git"}, "127.0.0.1"),
        "repository that is not there": ({**here, "repository": url + "-gone"}, "-gone"),
        "commit that does not exist": ({**here, "version_num": "1" * 40}, "1" * 40),
        "branch that does not exist": ({**here, "branch": "nowhere"}, "nowhere"),
        "diff that does not apply": ({**here, "diff": _BAD_DIFF}, "train.py"),
        "package that does not exist": ({"requirements": {"pip": "no-such-package-at-all==1.0"}}, "no-such-package"),
        "entry point that is not there": ({**here, "entry_point": "trian.py"}, "train.py"),
        "interpreter that is not installed": ({"binary": "python2.4"}, "2.4"),
        "option as a repository": ({**here, "repository": "--upload-pack=touch x"}, "--upload-pack"),
    }


@pytest.mark.parametrize(
    "case",
    [
        "no script",
        "unreachable repository",
        "repository that is not there",
        "commit that does not exist",
        "branch that does not exist",
        "diff that does not apply",
        "package that does not exist",
        "entry point that is not there",
        "interpreter that is not installed",
        "option as a repository",
    ],
)
def test_a_task_that_cannot_run_fails_with_its_reason(agent: Agent, repository: Path, case: str) -> None:
    script, named = tasks_that_cannot_run(repository)[case]
    task = agent.task(**script)
    ended = agent.run("execute", "--id", task, CLEARML_AGENT__AGENT__GIT_ALLOW_LOCAL="true")
    assert ended.returncode == 1
    seen = agent.get(task)
    assert seen["status"] == "failed"
    reason = seen["status_reason"]
    assert named in reason
    assert "\n" not in reason.strip()
    line = next(line for line in ended.stdout.splitlines() if line.startswith("clearml_agent: ERROR: "))
    assert line.removeprefix("clearml_agent: ERROR: ") in reason
    assert line in agent.console(task)
    assert "Traceback" not in ended.stdout + ended.stderr
    assert list((agent.state / "runs").iterdir()) == []


def test_the_daemon_gives_the_same_reason(agent: Agent) -> None:
    agent.daemon()
    task = agent.enqueue(agent.task(binary="python2.4"))
    seen = agent.final(task)
    assert seen["status"] == "failed"
    assert seen["status_reason"].startswith("environment failed: ")
    assert "2.4" in agent.console(task)
    assert agent.final(agent.enqueue(agent.task()))["status"] == "completed"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["daemon", "--queue", "defualt"], 'there is no queue "defualt". Did you mean "default"?'),
        (["execute", "--id", "a taks"], 'there is no task "a taks". Did you mean "a task"?'),
        (["execute", "--id", "0" * 32], f'there is no task "{"0" * 32}"'),
        (["daemon", "--gpus", "zero"], "--gpus"),
        (["daemon", "--gpus", "0", "--cpu-only"], "contradict"),
        (["--config-file", "/none.conf", "daemon"], "/none.conf"),
    ],
)
def test_a_wrong_command_line_gets_one_line(agent: Agent, arguments: list[str], said: str) -> None:
    agent.task()
    ended = agent.run(*arguments)
    assert ended.returncode == 1
    lines = ended.stderr.strip().splitlines()
    assert len(lines) == 1, ended.stderr
    assert lines[0].startswith("clearml_agent: ERROR: ")
    assert said in lines[0]


def test_without_any_configuration_both_ways_to_one_are_named(agent: Agent) -> None:
    (agent.home / "empty").mkdir()
    ended = agent.run("daemon", HOME=str(agent.home / "empty"), CLEARML_CONFIG_FILE="")
    assert ended.returncode == 1
    assert "clearml-agent init" in ended.stderr
    assert "clearml-agent server" in ended.stderr


def test_a_broken_configuration_names_file_and_line(agent: Agent) -> None:
    broken = agent.home / "broken.conf"
    broken.write_text('api {\n  api_server: "http://localhost:8008\n}\n')
    ended = agent.run("daemon", CLEARML_CONFIG_FILE=str(broken))
    assert ended.returncode == 1
    assert str(broken) in ended.stderr
    assert "Traceback" not in ended.stderr


def test_wrong_credentials_are_named_and_not_shown(agent: Agent) -> None:
    ended = agent.run("daemon", CLEARML_API_SECRET_KEY="a-wrong-secret-key")
    assert ended.returncode == 1
    assert "credentials" in ended.stderr.lower()
    assert "a-wrong-secret-key" not in ended.stderr + ended.stdout


def test_a_server_that_is_not_there_is_named(agent: Agent) -> None:
    once = {"CLEARML_AGENT__API__HTTP__INITIAL_CONNECT_RETRIES": "1"}  # it would wait for ten minutes
    ended = agent.run("execute", "--id", "x", CLEARML_API_HOST="http://127.0.0.1:9", **once)
    assert ended.returncode == 1
    assert "127.0.0.1:9" in ended.stderr


def test_flags_that_are_not_there_yet_are_refused_by_name(agent: Agent) -> None:
    ended = agent.run("daemon", "--standalone-mode")
    assert ended.returncode == 2
    assert "--standalone-mode is not supported by this version yet" in ended.stderr
