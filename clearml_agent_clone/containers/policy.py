"""Puts the arguments of the task and of the machine's owner together, and decides what of a task's counts.

The order: placeholders (``template``), reading (``arguments``), then everything here. Nothing is substituted after it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import attrs

from clearml_agent_clone.config.secret_values import looks_secret
from clearml_agent_clone.config.settings_docker import DockerSettings
from clearml_agent_clone.containers.arguments import Option, Source, parse_arguments, printable, unglue
from clearml_agent_clone.containers.leave import agents_business, needs_leave, slots_business
from clearml_agent_clone.containers.options import Arity, Engine, by_long, canonical, spellings
from clearml_agent_clone.containers.task_mounts import AllowedMount, Resolve, judge
from clearml_agent_clone.errors import UserError

_VARIABLE = re.compile(r"\$(?:\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<bare>[A-Za-z_][A-Za-z0-9_]*))")


@attrs.frozen
class Policy:
    """The rules for arguments, read once.

    Args:
        permissive: a task's arguments count as the classic agent takes them.
        allowed: options that tasks may use nevertheless; ``value`` None stands for any.
        mounts: what tasks may mount.
        filters: None lets everything pass.
        forbidden, protected: canonical names.
        extra_first: the owner's arguments stand first and win where they are protected.
        host_environ: ``$NAME`` in a task's variables is this machine's.
    """

    permissive: bool = False
    allowed: tuple[Option, ...] = ()
    mounts: tuple[AllowedMount, ...] = ()
    filters: tuple[re.Pattern[str], ...] | None = None
    forbidden: frozenset[str] = frozenset({"entrypoint"})
    protected: frozenset[str] = frozenset({"privileged", "security-opt", "network", "ipc"})
    extra_first: bool = True
    host_environ: bool = False
    engine: Engine = Engine.DOCKER

    @classmethod
    def of(cls, docker: DockerSettings, engine: Engine = Engine.DOCKER) -> Policy:
        """The rules of a configuration.

        Raises:
            UserError: a filter is no regular expression, or an allowed mount no path.
        """
        return cls(
            permissive=docker.task_args_policy == "permissive",
            allowed=tuple(_allowed(text) for text in docker.task_args_allowed),
            mounts=tuple(AllowedMount.parse(text) for text in docker.task_mounts_allowed),
            filters=tuple(_pattern(text) for text in docker.args_filters) if docker.args_filters else None,
            forbidden=frozenset(canonical(name) for name in docker.forbidden_args),
            protected=frozenset(canonical(name) for name in docker.protected_extra_args),
            extra_first=docker.extra_precedes_task,
            host_environ=docker.allow_host_environ,
            engine=engine,
        )


@attrs.frozen
class Agreed:
    """The options that count, in order, and what the console has to say of those that do not."""

    options: tuple[Option, ...] = ()
    remarks: tuple[str, ...] = ()


def agree(
    task: Sequence[str],
    source: Source,
    extra: Sequence[str],
    policy: Policy,
    *,
    given: Collection[Option] = (),
    environ: Mapping[str, str] = MappingProxyType({}),
    resolve: Resolve = str,
) -> Agreed:
    """Both lists as one.

    Args:
        task: words of the task, or of the default that stands in for it; placeholders are filled in already.
        source: who wrote ``task``.
        extra: words of ``agent.extra_docker_arguments``.
        policy: the rules.
        given: options that the configuration gives away by itself (see ``given_away``); a task may ask for them too.
        environ: this machine's variables.
        resolve: finds what is behind links on the host.

    Raises:
        UserError: an argument cannot be read, or a task asks for what it may not have. All of these in one line.
    """
    strangers = policy.permissive or source.is_admin
    asked = parse_arguments(task, source, engine=policy.engine, strangers=strangers)
    owners = parse_arguments(unglue(extra, Source.EXTRA), Source.EXTRA, engine=policy.engine, strangers=True)
    remarks: list[str] = []
    whole = policy.host_environ or source.is_admin
    asked = tuple(_with_host(option, environ, values=whole, names=whole or policy.permissive) for option in asked)
    owners = tuple(_with_host(option, environ, values=True, names=True) for option in owners)
    asked = _filtered(asked, policy.filters, remarks)
    asked = _without(asked, policy.forbidden, remarks)
    owners = _without(owners, policy.forbidden, remarks)
    asked = _own_business(asked, policy, remarks)
    owners = _own_business(owners, policy, remarks)
    asked = _permitted(asked, policy, frozenset(map(_key, (*given, *owners))), resolve, remarks)
    first, second = (owners, asked) if policy.extra_first else (asked, owners)
    taken = policy.protected & {option.name for option in first}
    remarks += [
        f"ignoring {option.written} of {option.source.value}: {first[0].source.value} sets it"
        for option in second
        if option.name in taken
    ]
    merged = (*first, *(option for option in second if option.name not in taken))
    remarks += [f"{option.written} is no known option; it is passed on" for option in merged if not option.known]
    return Agreed(tuple(sorted(merged, key=lambda option: not option.known)), tuple(remarks))


def given_away(docker: DockerSettings, engine: Engine = Engine.DOCKER) -> frozenset[Option]:
    """What the default and the rules of a configuration give to tasks without being asked.

    Any task can get these by naming no image or the right interpreter, so refusing them to one that names them (it may
    have them from the agent's own record of an earlier run) would protect nothing.
    """
    lists = [docker.default.arguments]
    for rule in docker.default.match_rules:
        arguments = rule.get("arguments")
        if isinstance(arguments, str):
            lists.append((arguments,))
        elif isinstance(arguments, list | tuple):
            lists.append(tuple(str(item) for item in arguments))
    found: set[Option] = set()
    for items in lists:
        words = unglue(items, Source.DEFAULT)
        found.update(parse_arguments(words, Source.DEFAULT, engine=engine, strangers=True))
    return frozenset(found)


def _key(option: Option) -> tuple[str, str | None]:
    return option.name, option.value


def _with_host(option: Option, environ: Mapping[str, str], *, values: bool, names: bool) -> Option:
    """A variable with this machine's values: ``$NAME`` in it (``values``), or in place of a bare NAME (``names``).

    A task never gets the agent's own secrets by either.
    """

    def known(name: str) -> str | None:
        secret = name.startswith(("CLEARML_", "TRAINS_")) and looks_secret(name)
        return None if secret and not option.source.is_admin else environ.get(name)

    def value_of(match: re.Match[str]) -> str:
        value = known(match["braced"] or match["bare"])
        return match[0] if value is None else value

    name, equals, value = option.text.partition("=")
    if option.name != "env" or not (values if equals else names):
        return option
    if equals:
        return attrs.evolve(option, value=f"{name}={_VARIABLE.sub(value_of, value)}")
    found = known(name)
    return option if found is None else attrs.evolve(option, value=f"{name}={found}")


def _filtered(
    options: Sequence[Option], filters: tuple[re.Pattern[str], ...] | None, remarks: list[str]
) -> tuple[Option, ...]:
    if filters is None:
        return tuple(options)
    kept = []
    for option in options:
        switches = dict.fromkeys((*spellings(option.name), option.written) if option.known else (option.written,))
        texts = [*switches, *(f"{switch}={option.value}" for switch in switches if option.value is not None)]
        if any(pattern.fullmatch(text) for pattern in filters for text in texts):
            kept.append(option)
        else:
            remarks.append(
                f"ignoring {option.written} of {option.source.value}: agent.docker_args_filters leaves it out"
            )
    return tuple(kept)


def _without(options: Sequence[Option], names: frozenset[str], remarks: list[str]) -> tuple[Option, ...]:
    left_out = [option for option in options if option.name in names]
    if left_out:
        switches = " ".join(dict.fromkeys(option.written for option in left_out))
        remarks.append(
            f"ignoring docker argument(s) {switches}; they would override the agent startup script "
            "and prevent the task from running"
            if {option.name for option in left_out} == {"entrypoint"}
            else f"ignoring docker argument(s) {switches}: agent.forbidden_docker_args names them"
        )
    return tuple(option for option in options if option.name not in names)


def _own_business(options: Sequence[Option], policy: Policy, remarks: list[str]) -> tuple[Option, ...]:
    kept = []
    for option in options:
        reason = agents_business(option)
        if not reason and not option.source.is_admin and not policy.permissive:
            reason = slots_business(option)
        if reason:
            remarks.append(f"ignoring {option.written} of {option.source.value}: {reason}")
        else:
            kept.append(option)
    return tuple(kept)


def _permitted(
    options: Sequence[Option],
    policy: Policy,
    given: frozenset[tuple[str, str | None]],
    resolve: Resolve,
    remarks: list[str],
) -> tuple[Option, ...]:
    """``options`` if each may be there; a task that asks for too much is refused as a whole, with every reason."""
    if policy.permissive or not any(option.source is Source.TASK for option in options):
        return tuple(options)
    kept, refused = [], []
    for option in options:
        if _key(option) in given or any(_matches(leave, option) for leave in policy.allowed):
            kept.append(option)
            continue
        if option.name in ("volume", "mount"):
            reason, judged = judge(option, policy.mounts, resolve)
        else:
            reason, judged = needs_leave(option), option
        if reason and option.name == "env":
            remarks.append(
                f"ignoring -e {printable(option.text)} of the task: {reason}, which agent.docker_allow_host_environ rules"
            )
        elif reason:
            refused.append(f"{option.written} ({reason})")
        else:
            kept.append(judged)
    if refused:
        raise UserError(
            "the task asks for container arguments that need the leave of this machine's owner: "
            + printable(", ".join(refused)),
            remedy="Remove them from the task, or allow them on the machine by agent.docker_task_args_allowed or "
            "agent.docker_task_mounts_allowed (all of them: agent.docker_task_args_policy = permissive)",
            code="container-argument-refused",
        )
    return tuple(kept)


def _matches(leave: Option, option: Option) -> bool:
    return leave.name == option.name and leave.value in (None, option.value)


def _allowed(text: str) -> Option:
    """``--ipc=host``: that; ``--device`` or ``device``: with any value."""
    head, equals, value = text.strip().partition("=")
    name = canonical(head)
    known = by_long(Engine.PODMAN).get(name)
    if known is None or (equals and known.arity is Arity.SWITCH and value != "true"):
        raise UserError(
            f'agent.docker_task_args_allowed: "{text}" is no option of docker run',
            remedy="Write options such as --ipc=host, or --device for any value",
            code="bad-value",
        )
    return Option(name, value if equals and known.arity is not Arity.SWITCH else None, Source.EXTRA, f"--{name}")


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise UserError(
            f'agent.docker_args_filters: "{text}" is no regular expression: {error}',
            remedy="Correct it",
            code="bad-value",
        ) from None
