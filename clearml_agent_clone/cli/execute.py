"""``clearml-agent execute``: run one task in the foreground."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from clearml_agent_clone.cli import common

if TYPE_CHECKING:
    from clearml_agent_clone.api.client import Client
    from clearml_agent_clone.api.types import Task
    from clearml_agent_clone.config import Loaded

_PATIENCE = 600.0
"""Seconds for which a server that is away is waited for: a job of Slurm or Kubernetes must not hold its GPU for ever."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "execute",
        help="run one task here and now",
        fromfile_prefix_chars="@",
        description="Run one task in the foreground and exit with its exit code.",
    )
    parser.add_argument("--id", required=True, metavar="TASK", help="id or name of the task")
    parser.add_argument("--clone", action="store_true", help="run a clone of the task, leave the task itself alone")
    parser.add_argument("--require-queue", action="store_true", help="fail unless the task waits in a queue")
    parser.add_argument("--log-file", metavar="FILE", help="write the task's console to this file too")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done and do nothing")
    common.add_task_flags(parser)
    common.add_container_flags(parser)
    common.add_not_yet(parser, "--disable-monitoring", "--full-monitoring", "--standalone-mode")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import threading  # noqa: PLC0415

    from clearml_agent_clone.logs import Redactor  # noqa: PLC0415
    from clearml_agent_clone.runner.preparation import dry_run  # noqa: PLC0415

    loaded = common.load(arguments)
    stop = threading.Event()
    redactor = Redactor(loaded.secrets)
    engine, words = common.container_of(arguments, loaded, lambda line: print(redactor.redact(line), flush=True))
    client = common.connect(loaded, patience=_PATIENCE, stop=stop, learn=redactor.add)
    task = _find(client, arguments.id)
    if arguments.dry_run:
        from clearml_agent_clone.runner.task_secrets import secrets_of  # noqa: PLC0415

        redactor.add(secrets_of(task))
        container = _container(task, loaded, client, engine, words) if engine else ()
        dry_run(task, loaded, lambda line: print(redactor.redact(line)), container)
        return 0
    from clearml_agent_clone.runner.foreground import ForegroundOptions, run_in_foreground  # noqa: PLC0415
    from clearml_agent_clone.util.files import own_dir  # noqa: PLC0415

    own_dir(loaded.settings.state_dir)
    options = ForegroundOptions(
        clone=arguments.clone,
        require_queue=arguments.require_queue,
        log_file=arguments.log_file,
        gpus=arguments.gpus,
        cpu_only=arguments.cpu_only,
        log_level=arguments.log_level,
        optimize=arguments.optimize,
        keep_run=arguments.debug,
        engine=engine,
        default_container=words,
    )
    return run_in_foreground(task, loaded, client, options, given_up=stop, redactor=redactor)


def _find(client: Client, name_or_id: str) -> Task:
    return client.tasks.find(name_or_id)


def _container(task: Task, loaded: Loaded, client: Client, engine: str, words: tuple[str, ...]) -> tuple[str, ...]:
    """What ``--dry-run`` says of the task's container."""
    import time  # noqa: PLC0415

    from clearml_agent_clone.runner.contained import describe  # noqa: PLC0415
    from clearml_agent_clone.runner.container_choice import decide_container  # noqa: PLC0415
    from clearml_agent_clone.runner.job import Job  # noqa: PLC0415

    job = Job("dry-run", task.id, "dry-run", time.time(), engine=engine, default_container=words)
    return describe(task, decide_container(task, job, loaded, client), loaded)
