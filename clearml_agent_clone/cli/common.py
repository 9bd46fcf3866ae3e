"""What several commands share: flags, and the way from flags to settings and a client. Imports argparse only."""

from __future__ import annotations

import argparse
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from clearml_agent_clone.errors import Retryable, UserError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable

    from clearml_agent_clone.api.client import Client
    from clearml_agent_clone.config import Loaded

LOG_LEVELS = ("DEBUG", "INFO", "WARN", "WARNING", "ERROR", "CRITICAL")


class NotYet(argparse.Action):
    """A flag of the classic agent that this version does not have: refused by name instead of misunderstood."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        """Refuse."""
        parser.error(f"{self.option_strings[-1]} is not supported by this version yet")


def add_task_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that ``daemon`` and ``execute`` have in common."""
    parser.add_argument("-O", dest="optimize", action="count", default=0, help="run Python with -O, twice with -OO")
    parser.add_argument("--git-user", metavar="USER", help="user name for git over https")
    parser.add_argument(
        "--git-pass",
        metavar="TOKEN",
        help="password for git over https; other users of this machine can see it, prefer CLEARML_AGENT_GIT_PASS",
    )
    parser.add_argument(
        "--log-level", type=str.upper, choices=LOG_LEVELS, default="INFO", help="log level of the task's ClearML SDK"
    )
    parser.add_argument("--gpus", metavar="LIST", help='GPUs for the tasks: 0,1 or 0-3, UUIDs, "all" or "none"')
    parser.add_argument("--cpu-only", action="store_true", help="hide all GPUs from the tasks")


def add_container_flags(parser: argparse.ArgumentParser) -> None:
    """``--docker`` and ``--podman``."""
    for engine in ("docker", "podman"):
        parser.add_argument(
            f"--{engine}",
            nargs="*",
            metavar="WORD",
            help=f"run tasks in containers of {engine}; image and arguments for tasks that name none may follow",
        )
    parser.add_argument("--force-current-version", action="store_true", help=argparse.SUPPRESS)  # it is always so


def container_of(
    arguments: argparse.Namespace, loaded: Loaded, say: Callable[[str], object]
) -> tuple[str, tuple[str, ...]]:
    """The engine that the flags ask for (empty for none), and the words that followed.

    Raises:
        UserError: the flags contradict each other, the engine is not installed, or the default is no image.
    """
    if arguments.docker is None and arguments.podman is None:
        return "", ()
    import shutil  # noqa: PLC0415

    from clearml_agent_clone.containers.choice import agent_default  # noqa: PLC0415

    if arguments.docker is not None and arguments.podman is not None and arguments.docker != arguments.podman:
        raise UserError(
            "--docker and --podman name different containers", remedy="Give one of them", code="container-flags"
        )
    engine = "docker" if arguments.podman is None else "podman"
    words = tuple(arguments.docker if arguments.podman is None else arguments.podman)
    if shutil.which(engine) is None:
        raise UserError(
            f"Running in Docker mode, '{engine}' command was not found",
            remedy=f"Install {engine}, or put it on PATH",
            code="engine-missing",
        )
    say(agent_default(words, loaded.settings.agent.docker.default, os.environ).banner)
    return engine, words


def add_not_yet(parser: argparse.ArgumentParser, *flags: str) -> None:
    """Refuse ``flags`` by name."""
    for flag in flags:
        parser.add_argument(flag, action=NotYet, nargs="*", help=argparse.SUPPRESS)


def load(arguments: argparse.Namespace) -> Loaded:
    """The configuration that the flags mean, after telling what is wrong with it.

    Flags go into our environment first: our children have to see the same.
    """
    given = {
        "CLEARML_CONFIG_FILE": arguments.config_file,
        "CLEARML_AGENT_GIT_USER": getattr(arguments, "git_user", None),
        "CLEARML_AGENT_GIT_PASS": getattr(arguments, "git_pass", None),
    }
    for name, value in given.items():
        if value:
            os.environ[name] = os.environ[name.replace("CLEARML_", "TRAINS_", 1)] = value
    from clearml_agent_clone.config import load_settings  # noqa: PLC0415 - only commands that run pay for it

    file = arguments.config_file
    if file:
        path = Path(os.path.expandvars(file)).expanduser().resolve()
        if not path.is_file():
            raise UserError(f"--config-file: there is no file {path}", remedy="Check the path", code="no-config-file")
        os.environ["CLEARML_CONFIG_FILE"] = os.environ["TRAINS_CONFIG_FILE"] = str(path)
        file = path
    loaded = load_settings(file, apart=True)  # the daemon is to stay small, and its runners find the result
    for problem in loaded.problems:
        print(f"clearml_agent: {problem}", file=sys.stderr)
    _apply_sections(loaded)
    return loaded


def _apply_sections(loaded: Loaded) -> None:
    """Do what the ``environment`` and ``files`` sections ask for, unless that is switched off."""
    from clearml_agent_clone.config import apply_environment, apply_files  # noqa: PLC0415

    agent = loaded.settings.agent
    if agent.apply_environment:
        names = apply_environment(loaded.environment, os.environ)
        if names:
            print(f"Environment variables set from configuration: {list(names)}")
    if agent.apply_files:
        for result in apply_files(loaded.files):
            print(result)


def connect(
    loaded: Loaded,
    *,
    patience: float = math.inf,
    stop: threading.Event | None = None,
    learn: Callable[[Iterable[str]], object] = lambda _: None,
) -> Client:
    """A client that is logged in. A server that is away is waited for, after a line that says so.

    Args:
        loaded: the configuration. Where it says how often the first login is repeated, that counts.
        patience: seconds to wait.
        stop: that of the session.
        learn: is told the secrets of a configuration that has changed since.

    Raises:
        UserError: no server is configured, it refuses our credentials, or something else answers in its place.
        Retryable: the server is still away, or its certificate is not trusted.
    """
    import socket  # noqa: PLC0415

    from clearml_agent_clone.api.client import Client  # noqa: PLC0415
    from clearml_agent_clone.api.renewal import access_anew  # noqa: PLC0415
    from clearml_agent_clone.api.session import ONCE, Retry, ServerAccess, Session  # noqa: PLC0415
    from clearml_agent_clone.config import require_server  # noqa: PLC0415
    from clearml_agent_clone.config.trees import DEFAULT  # noqa: PLC0415

    require_server(loaded.settings)
    access = ServerAccess.from_settings(loaded.settings.api)
    session = Session(access, host_name=socket.gethostname(), stop=stop, reload=access_anew(loaded, learn))
    limited = loaded.origins["api.http.initial_connect_retries"] != DEFAULT
    retry = access.login_retry if limited else Retry(attempts=sys.maxsize, total=patience)
    try:
        session.login(retry=ONCE)
    except Retryable as error:
        if not getattr(error, "passing", True) or retry.attempts == 1:
            raise
        limit = "a few times" if limited else "until it answers" if patience == math.inf else f"for {patience:.0f} s"
        print(f"clearml_agent: WARNING: {error}. Trying again {limit}; Ctrl-C ends it", file=sys.stderr, flush=True)
        session.login(retry=retry)
        print("clearml_agent: the server answers", file=sys.stderr, flush=True)
    return Client(session)
