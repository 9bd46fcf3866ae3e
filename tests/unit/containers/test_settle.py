"""The steps together, from a task to a command line."""

from __future__ import annotations

import pytest

from clearml_agent_clone.api.types import Container
from clearml_agent_clone.config.settings_docker import DefaultDockerSettings, DockerSettings, HideDockerEnvSettings
from clearml_agent_clone.containers.choice import AgentDefault, choose
from clearml_agent_clone.containers.compose import ComposedContainer, ContainerRequest, compose
from clearml_agent_clone.containers.names import Identity
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.policy import Policy
from clearml_agent_clone.containers.rules import MatchFacts
from clearml_agent_clone.containers.settle import Surroundings, settle
from clearml_agent_clone.containers.shown import Hider
from clearml_agent_clone.containers.template import OPEN_KEYS, TaskValues, harmless_keys
from clearml_agent_clone.errors import UserError


class Idle:
    def is_free(self, port: int) -> bool:
        return port != 8080


CONFIG = {"agent": {"git_pass": "g1tpass", "docker_force_pull": False, "worker_id": "box"}}
TASK = {"id": "t1", "name": "--privileged", "comment": "ubuntu"}


def made(container: Container, docker: DockerSettings) -> ComposedContainer:
    around = Surroundings(
        task_values=TaskValues(task=TASK, config=CONFIG, readable=OPEN_KEYS),
        owner_values=TaskValues(task=TASK, config=CONFIG, readable=harmless_keys()),
        free=Idle(),
        resolve=str,
        environ={"HOST": "here"},
    )
    choice = choose(container, AgentDefault("base:1"), docker, MatchFacts(), around.fill_image)
    settled = settle(choice, docker, Policy.of(docker), around)
    request = ContainerRequest(Engine.DOCKER, choice.image, ("/helper",), Identity("t1", "r1", "w"), settled.options)
    return compose(request, Hider.of(HideDockerEnvSettings()))


DOCKER = DockerSettings(
    default=DefaultDockerSettings(match_rules=()), extra_arguments=("-v /data:/data", "-e", "H=$HOST")
)


def test_a_task_all_the_way() -> None:
    argv = made(Container("img:1", "-e N=${CLEARML_TASK.id} -p 8080:80 --rm -e TOKEN=abcdef"), DOCKER).argv
    assert argv[4:8] == ("--volume=/data:/data", "--env=H=here", "--env=N=t1", "--publish=10000:80")
    assert argv[-2:] == ("img:1", "/helper")


@pytest.mark.parametrize(
    "arguments",
    [
        "-e A=1 ${CLEARML_TASK.name}",
        "${CLEARML_TASK.name}=true",
        "${CLEARML_TASK.comment}",
        "-e A=${CLEARML_CONFIG.agent.git_pass}",
        "-e A=${CLEARML_CONFIG.agent.docker_force_pull}",
        "--${CLEARML_TASK.nothing:privileged}",
        "-${CLEARML_TASK.nothing:v} /:/x",
    ],
)
def test_substitution_opens_no_way(arguments: str) -> None:
    with pytest.raises(UserError):
        made(Container("img:1", arguments), DOCKER)


def test_the_owner_may_use_what_tasks_may_not() -> None:
    docker = DockerSettings(
        default=DefaultDockerSettings(match_rules=()),
        extra_arguments=("--privileged", "-e", "PULL=${CLEARML_CONFIG.agent.docker_force_pull}"),
    )
    assert {"--privileged", "--env=PULL=false"} < set(made(Container("img:1"), docker).argv)
    with pytest.raises(UserError, match="extra_docker_arguments"):
        made(Container(), DockerSettings(extra_arguments=("-e", "A=${CLEARML_CONFIG.agent.git_pass}")))


def test_what_is_given_to_everybody_may_be_asked_for() -> None:
    shipped = DockerSettings()
    assert "--ipc=host" in made(Container("img:1", "--ipc=host"), shipped).argv
    with pytest.raises(UserError, match="leave"):
        made(Container("img:1", "--ipc=host"), DOCKER)
