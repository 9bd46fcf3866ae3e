"""A real server, agents, and a real docker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.docker_tools import HOST, docker, need_docker
from tests.helpers.worker_tools import Agent
from tests.integration.conftest import agent, runs, server  # noqa: F401 - the same fixtures


@pytest.fixture
def boxed(agent: Agent) -> Iterator[Agent]:  # noqa: F811 - that is how fixtures are asked for
    """An agent that may use docker."""
    need_docker()
    agent.variables = {**agent.variables, "CLEARML_AGENT__AGENT__EXTRA_DOCKER_ARGUMENTS": f'["{HOST}"]'}
    yield agent
    agent.close()
    mark = agent.state / "home-id"
    if mark.exists():
        found = docker("ps", "-aq", "--filter", f"label=clearml-agent-home={mark.read_text()}").stdout.split()
        if found:
            docker("rm", "--force", "--volumes", *found)
