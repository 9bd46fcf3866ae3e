"""Which image, arguments and setup script a task gets, and who decided that."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence

import attrs

from clearml_agent_clone.api.types import Container
from clearml_agent_clone.config.secret_values import text_secrets
from clearml_agent_clone.config.settings_docker import DefaultDockerSettings, DockerSettings
from clearml_agent_clone.config.variables_table import DOCKER_IMAGE
from clearml_agent_clone.containers.arguments import Source, split_arguments, unglue
from clearml_agent_clone.containers.images import check_image
from clearml_agent_clone.containers.rules import MatchedRule, MatchFacts, first_match

FillImage = Callable[[str, Source], str]
"""Fills placeholders in an image, for whom it is from."""


def _as_it_is(image: str, _source: Source) -> str:
    return image


@attrs.frozen
class AgentDefault:
    """What tasks get that name no image. ``by_command_line``: given after ``--docker``, which sets rules aside."""

    image: str
    arguments: tuple[str, ...] = ()
    by_command_line: bool = False

    @property
    def source(self) -> Source:
        """Who it is named after on the console."""
        return Source.COMMAND_LINE if self.by_command_line else Source.DEFAULT

    @property
    def banner(self) -> str:
        """The line at the daemon's start, as the classic agent has it."""
        arguments = " ".join(self.arguments)
        line = f"Running in Docker mode (v19.03 and above) - using default docker image: {self.image} {arguments}"
        override = " (default docker commandline override, config matching rules are ignored)"
        return line.rstrip() + (override if self.by_command_line else "")


@attrs.frozen
class Choice:
    """A container as it was chosen.

    Args:
        image, arguments, setup_script: what to run; arguments are words, placeholders not yet filled in.
        image_from, arguments_from, setup_from: who decided each.
        rule: number of the matched rule, 0 for none.
        write_back: what to record with the task; None when it has that already or it is not to be recorded.
    """

    image: str
    arguments: tuple[str, ...] = attrs.field(default=(), repr=False)
    setup_script: str = attrs.field(default="", repr=False)
    image_from: Source = Source.DEFAULT
    arguments_from: Source = Source.DEFAULT
    setup_from: Source = Source.TASK
    rule: int = 0
    write_back: Container | None = attrs.field(default=None, repr=False)

    def describe(self, shown_arguments: str) -> str:
        """The console's line, with arguments that are masked already."""
        default = "default " if self.image_from in (Source.DEFAULT, Source.COMMAND_LINE) else ""
        rule = f", rule {self.rule}" if self.rule and Source.RULE in (self.image_from, self.arguments_from) else ""
        line = f"inside {default}docker: {self.image} arguments: {shown_arguments}"
        return f"{line.rstrip()} (image from {self.image_from.value}, arguments from {self.arguments_from.value}{rule})"


def agent_default(
    items: Sequence[str], settings: DefaultDockerSettings, environ: Mapping[str, str] | None = None
) -> AgentDefault:
    """The agent's default from what follows ``--docker``, CLEARML_DOCKER_IMAGE, or the configuration.

    Raises:
        UserError: a quotation mark is not closed, or the image is no image.
    """
    variable = DOCKER_IMAGE.find(environ or {})
    text = items[0] if items else variable[1] if variable else settings.image
    source = Source.COMMAND_LINE if items else Source.DEFAULT
    words = split_arguments(text, source) or ("",)
    image = words[0] if "${CLEARML_" in words[0] else check_image(words[0], source)
    if words[1:]:
        return AgentDefault(image, words[1:], bool(items))
    given = tuple(items[1:])
    return AgentDefault(image, given or unglue(settings.arguments, Source.DEFAULT), bool(items))


def requested(container: Container, docker_cmd: str = "") -> Container:
    """What the task asks for: ``task.container``, else ``execution.docker_cmd`` of tasks from old SDKs.

    Raises:
        UserError: a quotation mark in ``docker_cmd`` is not closed.
    """
    if container.image.strip() or not docker_cmd.strip():
        return attrs.evolve(container, image=container.image.strip())
    image, *arguments = split_arguments(docker_cmd)
    return attrs.evolve(container, image=image, arguments=shlex.join(arguments))


def choose(
    asked: Container,
    default: AgentDefault,
    docker: DockerSettings,
    facts: MatchFacts,
    fill_image: FillImage = _as_it_is,
) -> Choice:
    """Decide image, arguments and setup script.

    A task that names an image brings its arguments, too, and none of the default's; one that names none gets those of
    the rule that matches, else the default's. The setup script is the task's own whatever is set. What is recorded with
    the task keeps its placeholders.

    Raises:
        UserError: the image is no image name, arguments cannot be split, or a rule cannot be read.
    """
    own = asked
    if docker.disable_task_override:
        own = Container(setup_shell_script=asked.setup_shell_script)
    rule = _rule(own, default, docker, attrs.evolve(facts, image=own.image))
    chosen = _from_rule(own, rule, default) if rule else _plain(own, default)
    update = docker.default.update_back_task if rule is None or rule.update_back is None else rule.update_back
    record = _write_back(chosen, asked) if update else None
    image = check_image(fill_image(chosen.image, chosen.image_from), chosen.image_from)
    return attrs.evolve(chosen, image=image, write_back=record)


def _rule(own: Container, default: AgentDefault, docker: DockerSettings, facts: MatchFacts) -> MatchedRule | None:
    """The rule that takes effect, if any."""
    if default.by_command_line and own.image:
        return None
    rule = first_match(docker.default.match_rules, facts)
    if rule is None or rule.forced:
        return rule
    return None if own.image or default.by_command_line else rule


def _plain(own: Container, default: AgentDefault) -> Choice:
    if own.image:
        words = split_arguments(own.arguments)
        return Choice(own.image, words, own.setup_shell_script, Source.TASK, Source.TASK)
    return Choice(default.image, default.arguments, own.setup_shell_script, default.source, default.source)


def _from_rule(own: Container, rule: MatchedRule, default: AgentDefault) -> Choice:
    ruled = split_arguments(rule.arguments, Source.RULE)
    image, image_from = (rule.image, Source.RULE) if rule.image else (default.image, default.source)
    if rule.forced:
        arguments, arguments_from = ruled, Source.RULE
        setup, setup_from = rule.setup_script, Source.RULE
    else:
        arguments, arguments_from = (ruled, Source.RULE) if ruled else (default.arguments, default.source)
        if own.arguments and rule.image:
            arguments, arguments_from = split_arguments(own.arguments), Source.TASK
        elif rule.image and not ruled:
            arguments, arguments_from = (), Source.RULE
        setup, setup_from = own.setup_shell_script, Source.TASK
        if not setup.strip():
            setup, setup_from = rule.setup_script, Source.RULE
    return Choice(image, arguments, setup, image_from, arguments_from, setup_from, rule.number)


def _write_back(chosen: Choice, asked: Container) -> Container | None:
    """What the task should say from now on. Each word is quoted, so that reading it again gives the same words.

    Arguments that hold a secret are not recorded where everybody reads them, and without its arguments neither is the
    image: a task with an image would get no default arguments the next time.
    """
    joined = shlex.join(chosen.arguments)
    record = Container(chosen.image, joined, chosen.setup_script)
    if chosen.image_from is Source.TASK or record == asked:
        return None
    if chosen.arguments_from is not Source.TASK and any(text_secrets(joined)):
        return None
    return record
