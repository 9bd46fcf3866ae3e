"""Which container a task gets."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clearml_agent_clone.api.types import Container, Requirements, Script
from clearml_agent_clone.config.settings_docker import DefaultDockerSettings, DockerSettings
from clearml_agent_clone.containers.arguments import Source
from clearml_agent_clone.containers.choice import AgentDefault, Choice, agent_default, choose, requested
from clearml_agent_clone.containers.rules import MatchFacts, first_match
from clearml_agent_clone.errors import UserError

DEFAULT = AgentDefault("base:1", ("--ipc=host", "-e", "A=b c"))
FACTS = MatchFacts(
    Script(
        binary="python3.8",
        repository="https://git.example.com/team/code.git",
        branch="main",
        requirements=Requirements(pip="torch==2.1.0\nnumpy >= 1\nPyYAML==6.0 ; python_version > '3'\n"),
    ),
    project="team/vision",
    project_id="p1",
    user_id="u1",
    tags=("gpu", "nightly"),
)


def docker(*rules: dict[str, Any], **more: Any) -> DockerSettings:
    return DockerSettings(default=DefaultDockerSettings(match_rules=rules), **more)


def pick(asked: Container, settings: DockerSettings | None = None, default: AgentDefault = DEFAULT) -> Choice:
    return choose(asked, default, settings or docker(), FACTS)


def test_a_task_without_image_gets_the_default_and_a_record_of_it() -> None:
    chosen = pick(Container(arguments="--dropped", setup_shell_script="make"))
    assert (chosen.image, chosen.arguments, chosen.setup_script) == ("base:1", ("--ipc=host", "-e", "A=b c"), "make")
    assert (chosen.image_from, chosen.arguments_from, chosen.setup_from) == (
        Source.DEFAULT, Source.DEFAULT, Source.TASK,
    )  # fmt: skip
    assert chosen.write_back == Container("base:1", "--ipc=host -e 'A=b c'", "make")
    again = pick(chosen.write_back)
    assert (again.image, again.arguments, again.write_back) == (chosen.image, chosen.arguments, None)


def test_a_task_with_image_gets_none_of_the_defaults_arguments() -> None:
    chosen = pick(Container("mine:2", "", "make"))
    assert (chosen.image, chosen.arguments, chosen.write_back) == ("mine:2", (), None)
    assert pick(Container("mine:2", "-e 'A=b c' --rm")).arguments == ("-e", "A=b c", "--rm")
    assert pick(Container("mine:2")).describe("").startswith("inside docker: mine:2 arguments: (image from the task")
    assert pick(Container()).describe("x").startswith("inside default docker: base:1 arguments: x")


def test_with_the_override_disabled_only_the_setup_script_is_the_tasks() -> None:
    chosen = pick(Container("mine:2", "-e A=1", "make"), docker(disable_task_override=True))
    assert (chosen.image, chosen.arguments, chosen.setup_script) == ("base:1", DEFAULT.arguments, "make")


def test_the_record_may_be_turned_off_and_never_holds_a_secret() -> None:
    off = DockerSettings(default=DefaultDockerSettings(match_rules=(), update_back_task=False))
    assert pick(Container(), off).write_back is None
    secret = attrs.evolve(DEFAULT, arguments=("-e", "DB_PASSWORD=correct-horse"))
    assert pick(Container(), default=secret).write_back is None


def test_old_tasks_have_one_text_for_both() -> None:
    assert requested(Container(), "img:1 -e 'A=b c'") == Container("img:1", "-e 'A=b c'")
    assert requested(Container(" img:2 ", "--rm"), "img:1") == Container("img:2", "--rm")
    assert requested(Container(setup_shell_script="x"), " ") == Container(setup_shell_script="x")


@pytest.mark.parametrize(
    ("items", "environ", "settings", "expected"),
    [
        ([], {}, {}, AgentDefault("conf:1", ())),
        ([], {}, {"arguments": ("--ipc=host -e A=1",)}, AgentDefault("conf:1", ("--ipc=host", "-e", "A=1"))),
        ([], {"CLEARML_DOCKER_IMAGE": "env:1 -e B=2"}, {}, AgentDefault("env:1", ("-e", "B=2"))),
        ([], {"TRAINS_DOCKER_IMAGE": "env:2"}, {"arguments": ("--rm",)}, AgentDefault("env:2", ("--rm",))),
        (["cli:1"], {"CLEARML_DOCKER_IMAGE": "env:1"}, {}, AgentDefault("cli:1", (), True)),
        (["cli:1 -e A=1"], {}, {"arguments": ("--rm",)}, AgentDefault("cli:1", ("-e", "A=1"), True)),
        (["cli:1", "-e", "A=1"], {}, {"arguments": ("--rm",)}, AgentDefault("cli:1", ("-e", "A=1"), True)),
        (["cli:1"], {}, {"arguments": ("--rm",)}, AgentDefault("cli:1", ("--rm",), True)),
    ],
)
def test_the_agents_default(
    items: list[str], environ: dict[str, str], settings: dict[str, Any], expected: AgentDefault
) -> None:
    assert agent_default(items, DefaultDockerSettings(image="conf:1", **settings), environ) == expected


def test_the_banner_is_the_classic_one() -> None:
    assert AgentDefault("a:1", ("-e", "A=1"), True).banner == (
        "Running in Docker mode (v19.03 and above) - using default docker image: a:1 -e A=1"
        " (default docker commandline override, config matching rules are ignored)"
    )
    assert AgentDefault("a:1").banner.endswith("docker image: a:1")


def test_a_bad_image_is_refused_wherever_it_comes_from() -> None:
    for asked in (Container("--privileged"), Container("img -e A=1"), Container("$(id)")):
        with pytest.raises(UserError, match="container image of the task"):
            pick(asked)
    with pytest.raises(UserError, match="default_docker"):
        agent_default([], DefaultDockerSettings(image="-v"))
    with pytest.raises(UserError, match="match_rules"):
        pick(Container(), docker({"image": "a b", "match": {"project": "team"}}))


def test_placeholders_in_an_image_are_filled_before_it_is_looked_at() -> None:
    default = agent_default(["${CLEARML_TASK.name}"], DefaultDockerSettings())
    chosen = choose(
        Container(), default, docker(), FACTS, lambda image, _: image.replace("${CLEARML_TASK.name}", "a:1")
    )
    assert chosen.image == "a:1"
    assert chosen.write_back == Container("${CLEARML_TASK.name}")
    with pytest.raises(UserError):
        choose(Container("${CLEARML_TASK.name}"), DEFAULT, docker(), FACTS, lambda _image, _: "--privileged")


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ({"script": {"binary": "python3.8$"}}, True),
        ({"script": {"binary": "python3.9$"}}, False),
        ({"project": "^team/vision$"}, True),
        ({"project": ["team", "vision"]}, True),
        ({"project": ["team", "audio"]}, False),
        ({"project_id": "p1", "user_id": "u1"}, True),
        ({"project_id": "p1", "user_id": "u2"}, False),
        ({"tags": "gpu"}, True),
        ({"tags": ["gpu", "night"]}, True),
        ({"tags": ["gpu", "cpu"]}, False),
        ({"container": "mine"}, False),
        ({"container": ""}, True),
        ({"script": {"repository": "example.com/", "branch": "^main$"}}, True),
        ({"script": {"requirements": {"pip": {"torch": ">=2,<3"}}}}, True),
        ({"script": {"requirements": {"pip": {"torch": ">=2.2"}}}}, False),
        ({"script": {"requirements": {"pip": {"numpy": ""}}}}, True),
        ({"script": {"requirements": {"pip": {"numpy": ">=1"}}}}, False),
        ({"script": {"requirements": {"pip": {"pyyaml": "==6.*"}}}}, True),
        ({"script": {"requirements": {"pip": {"absent": ""}}}}, False),
        ({"script": {"requirements": {"conda": {"torch": ""}}}}, False),
        ({}, False),
    ],
)
def test_a_rule_holds(match: dict[str, Any], holds: bool) -> None:
    assert (first_match([{"image": "r:1"}, {"image": "r:2", "match": match}], FACTS) is not None) is holds


def test_a_rule_that_cannot_be_read_is_named() -> None:
    for match in ({"project": "("}, {"script": {"requirements": {"pip": {"torch": "about 2"}}}}):
        with pytest.raises(UserError, match="match_rules, rule 1"):
            first_match([{"match": match}], FACTS)


RULE = {"image": "ruled:1", "arguments": "-e 'R=x y'", "setup_shell_script": ["a", "b"], "match": {"project": "team"}}


def test_a_rule_fills_what_is_missing() -> None:
    chosen = pick(Container(), docker(RULE))
    assert (chosen.image, chosen.arguments, chosen.setup_script) == ("ruled:1", ("-e", "R=x y"), "a\nb")
    assert (chosen.image_from, chosen.rule) == (Source.RULE, 1)
    assert chosen.write_back == Container("ruled:1", "-e 'R=x y'", "a\nb")
    chosen = pick(Container("", "-e T=1", "mine"), docker(RULE))
    assert (chosen.arguments, chosen.arguments_from, chosen.setup_script) == (("-e", "T=1"), Source.TASK, "mine")
    assert pick(Container(), docker({**RULE, "update_back_task": False})).write_back is None


def test_a_task_with_image_only_heeds_a_forced_rule() -> None:
    assert pick(Container("mine:2"), docker(RULE)).image == "mine:2"
    forced = docker({"image": "ruled:1", "match": {"project": "team"}, "force_container_rules": True})
    chosen = pick(Container("mine:2", "-e A=1", "mine"), forced)
    assert (chosen.image, chosen.arguments, chosen.setup_script) == ("ruled:1", (), "")


def test_an_image_on_the_command_line_sets_rules_aside_but_for_forced_ones() -> None:
    typed = attrs.evolve(DEFAULT, by_command_line=True)
    forced = {**RULE, "force_container_rules": True}
    assert pick(Container(), docker(RULE), typed).image == "base:1"
    assert pick(Container(), docker(forced), typed).image == "ruled:1"
    assert pick(Container("mine:2"), docker(forced), typed).image == "mine:2"


def test_a_rule_may_name_the_image_or_the_arguments_alone() -> None:
    chosen = pick(Container(), docker({"image": "ruled:1", "match": {"project": "team"}}))
    assert (chosen.image, chosen.arguments) == ("ruled:1", ())
    chosen = pick(Container(), docker({"arguments": "--ipc=host", "match": {"project": "team"}}))
    assert (chosen.image, chosen.arguments, chosen.arguments_from) == ("base:1", ("--ipc=host",), Source.RULE)


@given(st.lists(st.text(alphabet="-=eA b'\"$\\{}\n", min_size=1, max_size=8), max_size=4))
def test_what_is_recorded_reads_back_as_the_same_words(words: list[str]) -> None:
    chosen = pick(Container(), default=AgentDefault("base:1", tuple(words)))
    assert chosen.write_back is not None
    assert pick(chosen.write_back).arguments == tuple(words)
