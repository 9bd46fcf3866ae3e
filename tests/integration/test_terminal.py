"""``execute`` on a terminal: what is printed is shown at once, whatever becomes of the console's way to the server."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import threading
import time

import pytest

from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.faults import Fault, Kind
from tests.helpers.worker_tools import Agent, until

_CODE = """
import sys, time
for number in range(101):
    print(f"\\r{number:3d}%", end="", flush=True)
    time.sleep(0.02)
print()
print("waiting", flush=True)
time.sleep(600)
"""


class _Terminal:
    """Runs a command on a terminal of its own and keeps what that is sent."""

    def __init__(self, agent: Agent, *arguments: str, **variables: str) -> None:
        self._ours, theirs = pty.openpty()
        self.text = ""
        self.process = subprocess.Popen(
            agent.command(*arguments),
            env={**agent.environ, **variables},
            cwd=agent.home,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(theirs)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other side is closed
            while data := os.read(self._ours, 65536):
                self.text += data.decode(errors="replace")

    def close(self) -> int:
        _, errors = self.process.communicate(timeout=60)
        self._thread.join()
        os.close(self._ours)
        assert "Traceback" not in errors, errors
        return self.process.returncode


@pytest.mark.slow
def test_the_terminal_goes_on_and_an_interrupt_is_quick_while_the_server_swallows_the_console(agent: Agent) -> None:
    task = agent.task(_CODE)
    with FaultProxy(agent.server.api_url) as proxy:
        proxy.on("events.add_batch", Fault(Kind.BLACK_HOLE), times=None)
        terminal = _Terminal(agent, "execute", "--id", task, "--log-file", "console.txt", CLEARML_API_HOST=proxy.url)
        until(lambda: "waiting" in terminal.text or terminal.process.poll() is not None)
        assert terminal.text.count("\r\x1b[K") > 5
        log = agent.home / "console.txt"
        until(lambda: "100%\nwaiting\n" in log.read_text())
        assert "\r" not in log.read_text()
        begin = time.monotonic()
        terminal.process.send_signal(signal.SIGINT)
        time.sleep(1.0)
        terminal.process.send_signal(signal.SIGINT)
        terminal.process.wait(60)
        took = time.monotonic() - begin
        proxy.clear()
    terminal.close()
    assert took < 15
