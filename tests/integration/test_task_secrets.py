"""What a task brings along as a secret is not shown in its console, whichever runner delivers that."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.runner_tools import Runs, setting
from tests.helpers.worker_tools import Agent

_CODE = """
import os, pathlib, time
def tell(when):
    for name in ("DB_PASSWORD", "STORE", "PLAIN", "SMTP_TOKEN"):
        print(when, name, os.environ.get(name, "SMTP" + "-letter-box-77"), flush=True)
tell("first")
while not pathlib.Path(GO).exists():
    time.sleep(0.05)
tell("then")
"""
_SECRETS = {
    "DB_PASSWORD": "correct-horse-battery",
    "STORE": "https://reader:opaque-word-9@store.invalid/x",
    "PLAIN": "nothing-special",
}


def test_they_are_masked_by_the_first_runner_and_by_its_successor(agent: Agent, runs: Runs, tmp_path: Path) -> None:
    go = tmp_path / "go"
    task = agent.task(_CODE.replace("GO", repr(str(go))))
    wanted = [{"section": "Environment", "name": name, "value": value} for name, value in _SECRETS.items()]
    agent.server.call("tasks.edit_hyper_params", task=task, hyperparams=wanted)
    agent.server.call("tasks.edit", task=task, container={"arguments": "-e SMTP_TOKEN=SMTP-letter-box-77"})
    run = runs.start(task, setting("enable_task_env", "true"))
    agent.shows(task, "first SMTP_TOKEN")
    run.kill()
    go.touch()
    run.succeed()
    assert run.ends()["status"] == "completed"
    console = agent.console(task)
    for when in ("first", "then"):
        assert f"{when} DB_PASSWORD ****\n" in console
        assert f"{when} STORE https://****@store.invalid/x\n" in console
        assert f"{when} PLAIN nothing-special\n" in console
        assert f"{when} SMTP_TOKEN ****\n" in console
    assert run.folder.state_file.stat().st_mode & 0o777 == 0o600
