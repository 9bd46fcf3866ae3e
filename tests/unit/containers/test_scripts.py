"""Scripts that run before the task."""

from __future__ import annotations

import pytest

from clearml_agent_clone.api.types import Container
from clearml_agent_clone.config.settings_docker import DefaultDockerSettings, DockerSettings, HideDockerEnvSettings
from clearml_agent_clone.containers.arguments import Source
from clearml_agent_clone.containers.choice import AgentDefault, choose
from clearml_agent_clone.containers.compose import ContainerRequest, compose
from clearml_agent_clone.containers.names import Identity
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.rules import MatchFacts
from clearml_agent_clone.containers.scripts import plan_scripts
from clearml_agent_clone.containers.shown import Hider
from clearml_agent_clone.errors import UserError

HOSTILE = [
    "'; touch /pwned; '",
    '"; touch /pwned; "',
    "$(touch /pwned)",
    "`touch /pwned`",
    "if true; then\n  echo a\nfi",
    "cat <<'END'\n$HOME\nEND",
    "f() {\n  echo 'a b'\n}\nf",
    "echo a \\\n  b",
    "for x in 1 2\ndo echo $x; done",
    "# a comment\n\necho é \t $'\\n'",
    "exit 3",
    "--privileged",
    "image -v /:/host",
    "${CLEARML_CONFIG.api.credentials.secret_key}",
    "{braces} {{doubled}}",
]


@pytest.mark.parametrize("script", HOSTILE)
def test_a_script_stays_what_it_is_and_reaches_no_command_line(script: str) -> None:
    docker = DockerSettings(default=DefaultDockerSettings(match_rules=()))
    chosen = choose(Container("img:1", "", script), AgentDefault("base:1"), docker, MatchFacts())
    files = plan_scripts(docker, chosen.setup_script, chosen.setup_from)
    assert [(file.name, file.text, file.source) for file in files] == [("setup.sh", script + "\n", Source.TASK)]
    request = ContainerRequest(Engine.DOCKER, chosen.image, ("/helper",), Identity("t", "r", "w"))
    made = compose(request, Hider.of(HideDockerEnvSettings()))
    assert not any(script in word for word in (*made.argv, *made.environment.values(), *made.handed.values()))


def test_the_order_and_whose_they_are() -> None:
    docker = DockerSettings(
        preprocess_bash_script=("echo 1", "echo 2"),
        init_bash_script=("cp -r {mount_ssh_ro} {mount_ssh}; f() {{ :; }}",),
        extra_shell_script=("apt-get install -y x",),
    )
    files = plan_scripts(docker, "make\r\n\r\nrun\r", Source.RULE)
    assert [(file.name, file.text) for file in files] == [
        ("preprocess.sh", "echo 1\necho 2\n"),
        ("init.sh", "cp -r /.ssh ~/.ssh; f() { :; }\n"),
        ("extra.sh", "apt-get install -y x\n"),
        ("setup.sh", "make\n\nrun\n"),
    ]
    assert [file.origin for file in files][-1] == "setup script of agent.default_docker.match_rules"


def test_braces_that_are_no_fields_stay() -> None:
    for text in ("echo ${HOME}", "f() { :; }", "echo {python.__class__}", "echo {}"):
        assert plan_scripts(DockerSettings(init_bash_script=(text,)), "", Source.TASK)[0].text == text + "\n"


def test_nothing_to_run_is_no_file_and_a_nul_byte_is_an_error() -> None:
    assert plan_scripts(DockerSettings(), " \n# only words\n", Source.TASK) == ()
    with pytest.raises(UserError, match="setup script of the task"):
        plan_scripts(DockerSettings(), "echo \0", Source.TASK)
