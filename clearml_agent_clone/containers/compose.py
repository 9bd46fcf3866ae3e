"""The engine's whole command line for one container, as a value.

No secret stands in it, and none in what ``docker inspect`` shows: those go to the helper by its standard input.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from clearml_agent_clone.containers.arguments import Option, Source
from clearml_agent_clone.containers.gpus import GpuSwitches
from clearml_agent_clone.containers.images import check_image
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.containers.names import Identity
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.containers.shown import Hider
from clearml_agent_clone.errors import UserError

_NAME = re.compile(r"[^=\0\n]+")
_BY_NAME = re.compile(r"(CLEARML|TRAINS|NVIDIA|HIP|ROCR)_[A-Z0-9_]+")


@attrs.frozen
class ContainerRequest:
    """All that decides a container.

    Args:
        engine: docker or podman.
        image: a reference, checked once more here.
        command: what runs in it; the image's entry point, if any, gets it as arguments.
        identity: whose it is.
        options: what task and owner agreed on (``policy.agree``), ports already replaced (``ports.publish``).
        gpus: see ``gpus.gpu_switches``.
        mounts: ours; they come after those in ``options``.
        variables: ours; they win over those in ``options``.
        name: of the container, or nothing.
        labels: ``CLEARML_AGENT_EXTRA_DOCKER_LABELS``, each ``name`` or ``name=value``.
        restart: restart policy of a service, or nothing.
        host_ip: address of this machine for tasks that publish ports, or nothing.
    """

    engine: Engine
    image: str
    command: tuple[str, ...]
    identity: Identity
    options: tuple[Option, ...] = ()
    gpus: GpuSwitches = attrs.Factory(GpuSwitches)
    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    name: str = ""
    labels: tuple[str, ...] = ()
    restart: str = ""
    host_ip: str = ""


@attrs.frozen
class ComposedContainer:
    """How to make the container.

    Args:
        argv: the command line; no shell reads it.
        environment: variables for the engine's program, which passes them on by name. Only names of ours: any other
            could steer that program (DOCKER_HOST, LD_PRELOAD, …).
        handed: variables for the task that nobody else may see, and those it has to see otherwise than the engine does.
            The helper sets them.
        labels: those of ours, to find it by.
        name: or nothing.
        shown: the command line with secrets masked.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str] = attrs.field(repr=False)
    handed: Mapping[str, str] = attrs.field(repr=False)
    labels: Mapping[str, str]
    name: str
    shown: str


def compose(request: ContainerRequest, hider: Hider) -> ComposedContainer:
    """Put the command line together. The order is the classic agent's, which decides where an option stands twice.

    Raises:
        UserError: the image is no image name, or a mount or variable cannot be written down.
    """
    routes = _Routes(hider)
    words = [request.engine.value, "create", "--init", "--interactive"]
    if request.restart:
        words.append(f"--restart={request.restart}")
    words += routes.words(request.gpus.options)
    known = [option for option in request.options if option.known]
    words += routes.words(known)
    labels = request.identity.labels
    words += [f"--label={label}" for label in request.labels]
    words += [f"--label={name}={value}" for name, value in labels.items()]  # last: of two the engine takes the second
    ours = dict(request.variables)
    ours |= {
        "CLEARML_WORKER_ID": request.identity.worker_id,
        "CLEARML_DOCKER_IMAGE": request.image,
        "CLEARML_TASK_ID": request.identity.task_id,
    }
    if request.host_ip:
        ours["CLEARML_AGENT_HOST_IP"] = request.host_ip
    words += [word for name, value in ours.items() for word in routes.variable(name, value, Source.AGENT)]
    name = _name(request)
    if name and not any(option.name == "name" for option in known):
        words.append(f"--name={name}")
    words += [mount.option.token for mount in request.mounts]
    # An unknown switch may swallow the word after it: nothing but the end of the options can stand there.
    words += [option.token for option in request.options if not option.known]
    image = check_image(request.image, Source.AGENT)
    argv = (*words, "--", image, *request.command)
    handed = {**routes.handed, **request.gpus.inside}
    return ComposedContainer(argv, routes.environment, handed, labels, name, hider.line(argv))


def _name(request: ContainerRequest) -> str:
    given = [option.text for option in request.options if option.name == "name"]
    return given[-1] if given else request.name


@attrs.define
class _Routes:
    """Decides for each variable who may see it."""

    hider: Hider
    environment: dict[str, str] = attrs.Factory(dict)
    handed: dict[str, str] = attrs.Factory(dict)

    def words(self, options: Sequence[Option]) -> list[str]:
        found: list[str] = []
        for option in options:
            if option.name != "env":
                found.append(option.token)
                continue
            name, equals, value = option.text.partition("=")
            if equals:  # a bare name had no value on this machine: the engine would leave it out, too
                found += self.variable(name, value, option.source)
        return found

    def variable(self, name: str, value: str, source: Source) -> list[str]:
        if not _NAME.fullmatch(name) or "\0" in value:
            raise UserError(
                f'container arguments of {source.value}: "{name[:40]!r}" is no name of a variable',
                remedy="Write -e NAME=value",
                code="container-argument",
            )
        self.handed.pop(name, None)
        self.environment.pop(name, None)
        if self.hider.is_secret(name, value):
            self.handed[name] = value
            return []
        if source is Source.AGENT and _BY_NAME.fullmatch(name):
            self.environment[name] = value
            return [f"--env={name}"]
        return [f"--env={name}={value}"]
