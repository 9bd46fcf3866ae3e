"""A server and a yard for all points of one test process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.server.embedded import running_server
from tests.crash.yard import Yard
from tests.helpers.fault_proxy import FaultProxy
from tests.integration.conftest import Server


@attrs.define
class Yards:
    """Hands the same yard to one test after the other, and a fresh one after a test that failed."""

    server: Server
    proxy: FaultProxy
    folder: Path
    made: int = 0
    current: Yard | None = None

    def get(self, **variables: str) -> Yard:
        if self.current is None:
            self.made += 1
            self.current = Yard.open(self.server, self.proxy, self.folder / str(self.made), **variables)
        return self.current

    def drop(self) -> None:
        if self.current is not None:
            self.current.close()
            self.current = None


@pytest.fixture(scope="session")
def yards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yards]:
    folder = tmp_path_factory.mktemp("yards")
    with running_server(folder / "server") as embedded, FaultProxy(embedded.api_url) as proxy:
        server = Server(embedded)
        made = Yards(server, proxy, folder)
        yield made
        made.drop()
        server.http.close()


@pytest.fixture
def yard(yards: Yards, request: pytest.FixtureRequest) -> Iterator[Yard]:
    """A yard with its daemon up, shared by tests that succeed."""
    found = yards.get()
    found.up()
    failed = request.session.testsfailed
    try:
        yield found
    finally:
        yards.proxy.clear()
        if request.session.testsfailed > failed or getattr(request.node, "spoiled", False):
            yards.drop()
