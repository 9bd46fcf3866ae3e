"""One server, one proxy that makes things go wrong, one agent with its daemon: shared by the tests of a file."""

from __future__ import annotations

import contextlib
import re
import ssl
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.server.embedded import running_server
from tests.helpers.fault_proxy import FaultProxy
from tests.helpers.worker_tools import Agent, until

_COUNTER = """
import pathlib, time
number, end = 0, pathlib.Path({end!r})
while not end.exists():
    print("line", number, flush=True)
    number += 1
    time.sleep({pause})
print("lines", number, end.read_text(), flush=True)
"""


@attrs.frozen
class Counter:
    """A task that prints numbered lines until it is told to end."""

    task: str
    end: Path

    def stop(self, last_word: str = "") -> None:
        """Have it end, with ``last_word`` in its last line."""
        written = self.end.with_suffix(".new")
        written.write_text(last_word)
        written.replace(self.end)


@attrs.frozen
class Rig:
    """An agent whose every word to the server passes the proxy."""

    proxy: FaultProxy
    agent: Agent
    folder: Path

    def counter(self, pause: float = 0.02) -> Counter:
        """A counter that has printed its first lines."""
        end = self.folder / uuid.uuid4().hex
        task = self.agent.enqueue(self.agent.task(_COUNTER.format(end=str(end), pause=pause)))
        self.agent.shows(task, "line 3\n")
        return Counter(task, end)

    def runner_log(self, task: str) -> str:
        (log,) = self.agent.state.glob(f"runs/*{task[:8]}*/runner.log")
        return log.read_text()

    def whole_console(self, task: str) -> list[int]:
        """The numbers that the console shows, which must be all that the task says it has printed."""
        numbers = [int(found) for found in re.findall(r"^line (\d+)$", self.agent.console(task), re.MULTILINE)]
        (total,) = re.findall(r"^lines (\d+) ", self.agent.console(task), re.MULTILINE)
        assert numbers == list(range(int(total)))
        return numbers


@contextlib.contextmanager
def new_rig(folder: Path, tls: ssl.SSLContext | None = None, **variables: str) -> Iterator[Rig]:
    """A rig of its own; its daemons end with it, whatever state the proxy was left in."""
    with running_server(folder / "server") as embedded, FaultProxy(embedded.api_url, tls=tls) as proxy:
        home = folder / "home"
        home.mkdir()
        server = _Server(embedded)
        agent = Agent(server, home, {"CLEARML_AGENT__API__API_SERVER": proxy.url, **variables})
        try:
            yield Rig(proxy, agent, folder)
        finally:
            proxy.clear()
            agent.close()
            server.http.close()


class _Server:
    """The server as its owner sees it, past the proxy."""

    def __init__(self, embedded: Any) -> None:
        import requests

        self.api_url = embedded.api_url
        self.conf = embedded.conf_path
        self.state = embedded.state
        self.http = requests.Session()
        self.http.auth = (embedded.access_key, embedded.secret_key)

    def call(self, endpoint: str, /, **body: Any) -> dict[str, Any]:
        answer = self.http.post(f"{self.api_url}/{endpoint}", json=body, timeout=90)
        assert answer.status_code == 200, answer.text
        data: dict[str, Any] = answer.json()["data"]
        return data


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """Shared by a file's tests; its daemon listens."""
    with new_rig(tmp_path_factory.mktemp("outages")) as made:
        made.agent.queue()
        made.agent.daemon()
        until(lambda: "listens to" in made.agent.log())
        yield made


@pytest.fixture
def own_rig(tmp_path: Path) -> Iterator[Rig]:
    """For a test that ends its daemon, or starts it by itself."""
    with new_rig(tmp_path) as made:
        made.agent.queue()
        yield made
