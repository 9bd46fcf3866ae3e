"""A real server over real HTTP for everything below this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests

from clearml_agent_clone.server.embedded import EmbeddedServer, running_server
from tests.helpers.runner_tools import Runs
from tests.helpers.worker_tools import Agent


@attrs.define
class ApiError(Exception):
    """An answer other than 200."""

    code: int
    subcode: int
    msg: str


class Server:
    """A running server. ``call`` talks to it as its owner; ``conf`` is a clearml.conf for it."""

    def __init__(self, embedded: EmbeddedServer) -> None:
        self.api_url = embedded.api_url
        self.web_url = embedded.web_url
        self.files_url = embedded.files_url
        self.access_key = embedded.access_key
        self.secret_key = embedded.secret_key
        self.conf = embedded.conf_path
        self.state = embedded.state
        self.http = requests.Session()
        self.http.auth = (self.access_key, self.secret_key)

    def raw(self, endpoint: str, body: dict[str, Any] | None = None, **options: Any) -> requests.Response:
        """POST ``body`` to ``endpoint`` (may carry a version: ``v2.13/tasks.get_all``)."""
        return self.http.post(f"{self.api_url}/{endpoint}", json=body or {}, timeout=90, **options)

    def call(self, endpoint: str, /, **body: Any) -> dict[str, Any]:
        """The ``data`` of the answer. Raises ``ApiError`` for anything but 200."""
        answer = self.raw(endpoint, body)
        envelope = answer.json()
        meta = envelope["meta"]
        assert meta["result_code"] == answer.status_code
        if answer.status_code != 200:
            raise ApiError(meta["result_code"], meta["result_subcode"], meta["result_msg"])
        data: dict[str, Any] = envelope["data"]
        return data

    def failure(self, endpoint: str, /, **body: Any) -> tuple[int, int]:
        """Code and subcode of a call that must fail."""
        with pytest.raises(ApiError) as caught:
            self.call(endpoint, **body)
        return caught.value.code, caught.value.subcode


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A fresh server with empty data."""
    with running_server(tmp_path / "server") as embedded:
        handle = Server(embedded)
        yield handle
        handle.http.close()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests that mind only their own objects; faster than a fresh one."""
    with running_server(tmp_path_factory.mktemp("shared") / "server") as embedded:
        handle = Server(embedded)
        yield handle
        handle.http.close()


@pytest.fixture
def agent(server: Server, tmp_path: Path) -> Iterator[Agent]:
    """An agent with a home of its own; its daemons end with the test."""
    home = tmp_path / "home"
    home.mkdir()
    made = Agent(server, home)
    yield made
    made.close()


@pytest.fixture
def runs(agent: Agent) -> Iterator[Runs]:
    """Runners without a daemon; they end with the test."""
    made = Runs(agent)
    yield made
    made.close()
