"""What the agent asks of a container engine, and how docker and podman are asked: by their command-line programs.

The programs are the interface that people configure (contexts, ``DOCKER_HOST``, credential helpers, rootless podman),
and they cost no dependency. Only argument lists are used, and the agent's environment is theirs.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from clearml_agent_clone.config.passwords import without_passwords
from clearml_agent_clone.containers.arguments import Option
from clearml_agent_clone.containers.compose import ComposedContainer
from clearml_agent_clone.containers.mounts import Mount
from clearml_agent_clone.containers.options import Engine
from clearml_agent_clone.errors import AgentError, Retryable, UserError
from clearml_agent_clone.util.process import Cancel, Console, Finished, run

_ASK_PATIENCE = 60.0  # an engine under load answers late; one that hangs must not hold the task for ever
_REMOVE_PATIENCE = 120.0
_MISSING = ("no such container", "no such object", "no such image", "no container with name or id", "not known")
# Not "connection refused": that is also what an engine says of a registry.
_AWAY = ("daemon running", "to the docker daemon", "connect to podman")


@attrs.frozen
class ContainerState:
    """What the engine knows of a container.

    Args:
        id: its full id.
        status: ``created``, ``running``, ``exited``, ``dead``, ….
        running: whether anything of it runs.
        exit_code: that of its first process; 128+n when signal n ended it. None before its end.
        oom_killed: the kernel ended a process of it because its memory limit was reached.
        pid: of its first process on this machine, 0 when there is none.
        error: why the engine could not start it.
        labels: its labels.
        image: the id of its image.
    """

    id: str
    status: str
    running: bool
    exit_code: int | None
    oom_killed: bool
    pid: int
    error: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    image: str = ""


@attrs.frozen
class ImageFacts:
    """An image that the engine has: ``user`` is what its processes run as, empty for root."""

    id: str
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    environment: Mapping[str, str] = attrs.field(factory=dict, repr=False)


class ContainerEngine(Protocol):
    """An engine. Where it cannot be reached, every method raises ``Retryable`` (``engine-away``)."""

    @property
    def name(self) -> str:
        """``docker`` or ``podman``."""

    def image(self, image: str) -> ImageFacts | None:
        """The local image of that reference, None when it has to be pulled."""

    def image_id(self, image: str) -> str | None:
        """Its id."""

    def pull(self, image: str, console: Console, cancel: Cancel) -> None:
        """Fetch an image, with the progress on the console.

        Raises:
            UserError: it cannot be fetched (``image-pull``).
            Cancelled: ``cancel`` was set.
        """

    def run_once(
        self,
        image: str,
        argv: Sequence[str],
        *,
        mounts: Sequence[Mount] = (),
        variables: Mapping[str, str] | None = None,
        options: Sequence[Option] = (),
        labels: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        console: Console | None = None,
        cancel: Cancel | None = None,
        separate_errors: bool = True,
    ) -> Finished:
        """Run ``argv`` in a container that is gone afterwards, past the image's entry point.

        Args:
            image: a reference or an id.
            argv: program and arguments.
            mounts: what it sees of the host.
            variables: no secrets: they are to be seen in the list of containers. Secrets go by ``stdin``.
            options: further options of the engine.
            labels: to find it by, should we die.
            stdin: what it reads.
            timeout: seconds until it is removed; the exit code is 124 then.
            console: gets stderr as it comes, with ``separate_errors`` off stdout too.
            cancel: removes it.
            separate_errors: keep stderr apart.

        Raises:
            Cancelled: ``cancel`` was set; the container is gone.
        """

    def create(self, composed: ComposedContainer) -> str:
        """Make a container and return its id.

        Raises:
            UserError: the engine refuses (``container-create``).
        """

    def start_argv(self, container: str) -> tuple[str, ...]:
        """The program that starts a container, feeds it our standard input, and ends when it does with its code."""

    def wait_argv(self, container: str) -> tuple[str, ...]:
        """The program that ends when the container does."""

    def environment(self, composed: ComposedContainer | None = None) -> dict[str, str]:
        """The environment of these programs."""

    def inspect(self, container: str) -> ContainerState | None:
        """What is known of a container; None when there is none."""

    def signal(self, container: str, number: int) -> None:
        """Send a signal to its first process; no error when there is none."""

    def stop(self, container: str, grace: float) -> None:
        """End it: its stop signal, ``grace`` seconds, SIGKILL."""

    def kill(self, container: str) -> None:
        """End it at once."""

    def remove(self, container: str) -> None:
        """Remove it with its fresh volumes, ending it at once if it runs; no error when there is none."""

    def labelled(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Ids of all containers, running or not, that have these labels. An empty value means any."""


@attrs.frozen
class CliEngine:
    """docker, or podman, by its command line.

    Args:
        engine: which of them.
        program: its program.
        environ: the environment of that program; by default the agent's.
    """

    engine: Engine
    program: str = attrs.Factory(lambda self: self.engine.value, takes_self=True)
    environ: Mapping[str, str] | None = attrs.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """See ``ContainerEngine``."""
        return self.engine.value

    def image(self, image: str) -> ImageFacts | None:
        """See ``ContainerEngine``."""
        done = self._ask("image", "inspect", "--", image)
        if not done.ok:
            if _says(done, _MISSING):
                return None
            raise self._failed(done, f"look for image {image}")
        found = _first(done.output)
        config = found.get("Config") or {}
        pairs = (text.partition("=") for text in config.get("Env") or ())
        entry = config.get("Entrypoint") or ()
        return ImageFacts(
            _full_id(str(found.get("Id", ""))),
            str(config.get("User") or ""),
            (entry,) if isinstance(entry, str) else tuple(entry),
            {name: value for name, _, value in pairs},
        )

    def image_id(self, image: str) -> str | None:
        """See ``ContainerEngine``."""
        facts = self.image(image)
        return None if facts is None else facts.id

    def pull(self, image: str, console: Console, cancel: Cancel) -> None:
        """See ``ContainerEngine``."""
        done = run((self.program, "pull", "--", image), env=self.environment(), console=console, cancel=cancel)
        if not done.ok:
            if _says(done, _AWAY):
                raise self._failed(done, f"pull {image}")
            raise UserError(
                f"image {image} cannot be pulled: {_reason(done)}",
                remedy=f"Check its name, try `{self.program} pull {image}` here, or log in with `{self.program} login`",
                code="image-pull",
            )

    def run_once(
        self,
        image: str,
        argv: Sequence[str],
        *,
        mounts: Sequence[Mount] = (),
        variables: Mapping[str, str] | None = None,
        options: Sequence[Option] = (),
        labels: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        timeout: float | None = None,
        console: Console | None = None,
        cancel: Cancel | None = None,
        separate_errors: bool = True,
    ) -> Finished:
        """See ``ContainerEngine``."""
        name = f"clearml-once-{uuid.uuid4().hex}"
        words = [self.program, "run", "--rm", "--init", "--interactive", f"--name={name}"]
        words += [option.token for option in options if option.name != "name"]
        words += [f"--label={label}={value}" for label, value in (labels or {}).items()]
        words += [f"--env={variable}={value}" for variable, value in (variables or {}).items()]
        words += [mount.option.token for mount in mounts]
        words += [f"--entrypoint={argv[0]}", "--", image, *argv[1:]]
        try:
            done = run(
                words,
                env=self.environment(),
                stdin=stdin,
                timeout=timeout,
                console=console,
                cancel=cancel,
                separate_errors=separate_errors,
            )
        except BaseException:  # whatever ended us, the container must not outlive the call
            self._forget(name)
            raise
        if done.exit_code == 124:
            self._forget(name)
        if done.exit_code == 125 and _says(done, _AWAY):
            raise self._failed(done, f"run {argv[0]} in {image}")
        return done

    def create(self, composed: ComposedContainer) -> str:
        """See ``ContainerEngine``."""
        done = self._ask(*composed.argv[1:], env=self.environment(composed), patience=_REMOVE_PATIENCE)
        container = done.output.strip().splitlines()[-1:] if done.ok else []
        if not container:
            if _says(done, _AWAY):
                raise self._failed(done, "make the container")
            raise UserError(
                f"{self.name} cannot make the container: {_reason(done)}",
                remedy="Check the container's image and arguments",
                code="container-create",
            )
        return container[0]

    def start_argv(self, container: str) -> tuple[str, ...]:
        """See ``ContainerEngine``."""
        return (self.program, "start", "--attach", "--interactive", "--", container)

    def wait_argv(self, container: str) -> tuple[str, ...]:
        """See ``ContainerEngine``."""
        return (self.program, "wait", "--", container)

    def environment(self, composed: ComposedContainer | None = None) -> dict[str, str]:
        """See ``ContainerEngine``."""
        base = dict(without_passwords(os.environ if self.environ is None else self.environ))
        return base if composed is None else {**base, **composed.environment}

    def inspect(self, container: str) -> ContainerState | None:
        """See ``ContainerEngine``."""
        done = self._ask("container", "inspect", "--", container)
        if not done.ok:
            if _says(done, _MISSING):
                return None
            raise self._failed(done, f"look at container {container[:12]}")
        found = _first(done.output)
        state = found.get("State") or {}
        running = bool(state.get("Running")) or bool(state.get("Paused")) or bool(state.get("Restarting"))
        status = str(state.get("Status", ""))
        begun = status not in ("created", "configured", "initialized")
        return ContainerState(
            id=str(found.get("Id", container)),
            status=status,
            running=running,
            exit_code=None if running or not begun else int(state.get("ExitCode", 0)),
            oom_killed=bool(state.get("OOMKilled")),
            pid=int(state.get("Pid") or 0),
            error=str(state.get("Error") or ""),
            labels=(found.get("Config") or {}).get("Labels") or {},
            image=_full_id(str(found.get("Image", ""))),
        )

    def signal(self, container: str, number: int) -> None:
        """See ``ContainerEngine``."""
        done = self._ask("kill", f"--signal={number}", "--", container)
        if not done.ok and not _says(done, (*_MISSING, "is not running", "not running", "can only kill running")):
            raise self._failed(done, f"signal container {container[:12]}")

    def stop(self, container: str, grace: float) -> None:
        """See ``ContainerEngine``."""
        done = self._ask("stop", f"--time={max(int(grace), 0)}", "--", container, patience=grace + _REMOVE_PATIENCE)
        if not done.ok and not _says(done, _MISSING):
            raise self._failed(done, f"stop container {container[:12]}")

    def kill(self, container: str) -> None:
        """See ``ContainerEngine``."""
        self.signal(container, 9)

    def remove(self, container: str) -> None:
        """See ``ContainerEngine``."""
        done = self._ask("rm", "--force", "--volumes", "--", container, patience=_REMOVE_PATIENCE)
        # two that remove it at once are told that it is in progress: it goes either way
        if not done.ok and not _says(done, (*_MISSING, "is already in progress")):
            raise self._failed(done, f"remove container {container[:12]}")

    def labelled(self, labels: Mapping[str, str]) -> tuple[str, ...]:
        """See ``ContainerEngine``."""
        filters = [
            f"--filter=label={name}={value}" if value else f"--filter=label={name}" for name, value in labels.items()
        ]
        done = self._ask("ps", "--all", "--no-trunc", "--quiet", *filters)
        if not done.ok:
            raise self._failed(done, "list its containers")
        return tuple(line.strip() for line in done.output.splitlines() if line.strip())

    def _ask(self, *words: str, env: Mapping[str, str] | None = None, patience: float = _ASK_PATIENCE) -> Finished:
        return run(
            (self.program, *words),
            env=self.environment() if env is None else env,
            timeout=patience,
            separate_errors=True,
        )

    def _forget(self, name: str) -> None:
        with contextlib.suppress(AgentError):  # --rm removes it when it ends, and the reaper finds it by its label
            self.remove(name)

    def _failed(self, done: Finished, what: str) -> Retryable:
        if done.exit_code == 124:
            return Retryable(
                f"{self.name} did not answer when asked to {what}",
                remedy=f"Look whether `{self.program} ps` works here",
                code="engine-away",
            )
        return Retryable(
            f"{self.name} failed to {what}: {_reason(done)}",
            remedy=f"Look whether `{self.program} info` works here for this user",
            code="engine-away",
        )


def _says(done: Finished, needles: Sequence[str]) -> bool:
    text = (done.errors + done.output).lower()
    return any(needle in text for needle in needles)


def _reason(done: Finished) -> str:
    """What the program gave as its reason, without its own prefix and its advice."""
    lines = [line.strip() for line in (done.errors or done.output).splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("See '", "Run '", "Using default tag"))]
    for line in reversed(lines):
        for prefix in ("Error response from daemon: ", "docker: Error response from daemon: ", "Error: ", "Error "):
            if line.startswith(prefix):
                return line.removeprefix(prefix)
    return lines[-1] if lines else f"exit code {done.exit_code}"


def _first(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    found = found[0] if isinstance(found, list) and found else found
    return found if isinstance(found, Mapping) else {}


def _full_id(text: str) -> str:
    """Image ids with their algorithm: podman leaves it out."""
    return f"sha256:{text}" if text and ":" not in text else text
