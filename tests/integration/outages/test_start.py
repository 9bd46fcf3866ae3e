"""Commands that are started while the server is away, or does not want us."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.fault_proxy import Fault
from tests.helpers.worker_tools import until

from .conftest import Rig

pytestmark = pytest.mark.slow  # all together; one by one they take seconds


def _start(rig: Rig, *arguments: str) -> tuple[subprocess.Popen[str], Path]:
    """A command in the background, and the file with its words."""
    words = rig.folder / "words"
    with words.open("w") as output:
        child = subprocess.Popen(
            rig.agent.command(*arguments),
            env=rig.agent.environ,
            cwd=rig.agent.home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            text=True,
        )
    rig.agent.daemons.append(child)
    return child, words


def test_a_daemon_waits_for_the_server_and_says_so_once(own_rig: Rig) -> None:
    own_rig.proxy.down()
    child, words = _start(own_rig, "daemon", "--foreground")
    until(lambda: "Trying again until it answers" in words.read_text())
    time.sleep(1.5)
    assert child.poll() is None
    assert words.read_text().count("refused the connection") == 1
    own_rig.proxy.up()
    until(lambda: "listens to" in words.read_text())
    task = own_rig.agent.enqueue(own_rig.agent.task())
    assert own_rig.agent.final(task)["status"] == "completed"


def test_execute_waits_for_the_server(own_rig: Rig) -> None:
    task = own_rig.agent.task()
    own_rig.proxy.on("auth.login", Fault.status(503), times=3)
    child, words = _start(own_rig, "execute", "--id", task)
    assert child.wait(60) == 0
    assert "Trying again for 600 s" in words.read_text()
    assert "hello" in words.read_text()


def test_a_limit_of_the_configuration_ends_the_waiting(own_rig: Rig) -> None:
    own_rig.proxy.on("auth.login", Fault.status(503), times=None)
    for retries, asked in ((0, 1), (1, 4)):
        ended = own_rig.agent.run("daemon", "--foreground", CLEARML_AGENT_INITIAL_CONNECT_RETRY_OVERRIDE=str(retries))
        assert ended.returncode == 1
        assert "HTTP 503" in ended.stderr
        assert len(own_rig.proxy.calls) <= asked


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.BAD_CREDENTIALS, "does not accept the key pair"),
        (Fault.GARBAGE, "is not a ClearML API server"),
    ],
)
@pytest.mark.parametrize("command", [("daemon", "--foreground"), ("execute", "--id", "0" * 32)])
def test_what_waiting_will_not_mend_ends_it(own_rig: Rig, fault: Fault, words: str, command: tuple[str, ...]) -> None:
    own_rig.proxy.on("auth.login", fault, times=None)
    ended = own_rig.agent.run(*command)
    assert ended.returncode == 1
    assert words in ended.stderr
    assert len(ended.stderr.strip().splitlines()) == 1
    assert len(own_rig.proxy.calls) == 1


def test_detached_comes_back_while_the_daemon_waits(own_rig: Rig) -> None:
    own_rig.proxy.down()
    ended = own_rig.agent.run("daemon", "--detached")
    try:
        assert ended.returncode == 0
        assert "Trying again until it answers" in ended.stdout
        assert "it goes on trying in the background, pid " in ended.stdout
        own_rig.proxy.up()
        task = own_rig.agent.enqueue(own_rig.agent.task())
        assert own_rig.agent.final(task)["status"] == "completed"
    finally:
        assert own_rig.agent.run("daemon", "--stop").returncode == 0
