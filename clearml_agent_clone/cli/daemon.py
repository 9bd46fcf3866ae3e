"""``clearml-agent daemon``: take tasks from queues and run them."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clearml_agent_clone.cli import common
from clearml_agent_clone.errors import UserError

if TYPE_CHECKING:
    from clearml_agent_clone.api.client import Client
    from clearml_agent_clone.api.types import Queue
    from clearml_agent_clone.config import Loaded
    from clearml_agent_clone.config.variables import Variable
    from clearml_agent_clone.launch.gpus import GpuChoice
    from clearml_agent_clone.worker.daemon import DaemonOptions
    from clearml_agent_clone.worker.nursery import Nursery
    from clearml_agent_clone.worker.registry import WorkerName
    from clearml_agent_clone.worker.sight.sight import Address


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "daemon",
        help="take tasks from queues and run them",
        fromfile_prefix_chars="@",
        description="Take tasks from queues and run them, one after the other.",
    )
    parser.add_argument("--queue", nargs="+", metavar="QUEUE", help="names or ids of queues, the most urgent first")
    parser.add_argument("--order-fairness", action="store_true", help="take from the queues in turn, not by urgency")
    parser.add_argument("--create-queue", action="store_true", help="create queues that do not exist")
    parser.add_argument(
        "--polling-interval",
        type=int,
        default=5,
        metavar="SECONDS",
        help="between polls of a server that cannot hold a call until a task comes (default and least: 5)",
    )
    parser.add_argument("--foreground", action="store_true", help="log to the terminal")
    parser.add_argument("--detached", "-d", action="store_true", help="run in the background")
    parser.add_argument(
        "--services-mode",
        nargs="?",
        type=int,
        const=-1,
        metavar="N",
        help="run tasks side by side, at most N (default: any number), each as a worker of its own",
    )
    parser.add_argument("--child-report-tags", nargs="+", metavar="TAG", help="tags for the reports of this worker")
    parser.add_argument(
        "--stop", nargs="*", metavar="WORKER", help="stop the agent that these flags would start, or those named"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--drain", action="store_true", help="with --stop: let running tasks finish first")
    how.add_argument("--now", action="store_true", help="with --stop: kill running tasks, without time to save")
    parser.add_argument(
        "--metrics-port",
        metavar="[HOST:]PORT",
        help="serve /metrics (Prometheus) and /healthz there; on 127.0.0.1 unless HOST says otherwise",
    )
    common.add_task_flags(parser)
    common.add_container_flags(parser)
    common.add_not_yet(
        parser,
        "--standalone-mode",
        "--status",
        "--dynamic-gpus",
        "--uptime",
        "--downtime",
        "--check-bootstrap",
        "--use-owner-token",
    )
    parser.set_defaults(run=run, refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from clearml_agent_clone.launch.gpus import choose_gpus  # noqa: PLC0415 - only when it runs
    from clearml_agent_clone.util.files import own_dir  # noqa: PLC0415

    services = arguments.services_mode not in {None, 0}
    choice = choose_gpus(arguments.gpus, cpu_only=arguments.cpu_only or services, environ=os.environ)
    if arguments.stop is not None:
        return _stop(arguments, choice)
    if arguments.drain or arguments.now:
        arguments.refuse(f"--{'drain' if arguments.drain else 'now'} goes with --stop")
    loaded = common.load(arguments)
    own_dir(loaded.settings.state_dir)
    if arguments.detached and not arguments.foreground:
        from clearml_agent_clone.worker.detach import start_detached  # noqa: PLC0415

        return start_detached(loaded.settings.state_dir, print)
    return _work(arguments, loaded, choice, services=services)


def _stop(arguments: argparse.Namespace, choice: GpuChoice) -> int:
    """``--stop``: of the configuration it needs the state folder and the worker's name."""
    from functools import partial  # noqa: PLC0415

    from clearml_agent_clone.worker.stopmode import StopMode  # noqa: PLC0415
    from clearml_agent_clone.worker.stopping import stop_agents  # noqa: PLC0415

    try:
        loaded = common.load(arguments)
    except UserError as error:
        print(f"clearml_agent: {error}\nclearml_agent: going on without the configuration file", file=sys.stderr)
        loaded = _without_file()
    return stop_agents(
        loaded.settings.state_dir,
        _name(loaded, choice),
        arguments.stop or None,
        queues=tuple(arguments.queue or ()),
        mode=StopMode.DRAIN if arguments.drain else StopMode.NOW if arguments.now else StopMode.STOP,
        grace=loaded.settings.agent.abort_grace_sec,
        say=partial(print, flush=True),
    )


def _without_file() -> Loaded:
    """The settings that the environment alone gives."""
    import tempfile  # noqa: PLC0415

    from clearml_agent_clone.config import load_settings  # noqa: PLC0415

    with tempfile.NamedTemporaryFile(suffix=".conf") as empty:
        return load_settings(Path(empty.name))


def _work(arguments: argparse.Namespace, loaded: Loaded, choice: GpuChoice, *, services: bool) -> int:
    from clearml_agent_clone.runner.background import become_runner  # noqa: PLC0415
    from clearml_agent_clone.worker.nursery import Nursery  # noqa: PLC0415

    with Nursery() as nursery:
        nursery.open(become_runner)  # first of all: what is opened later must not be shared with the runners
        return _serve(arguments, loaded, choice, nursery, services=services)


def _serve(
    arguments: argparse.Namespace, loaded: Loaded, choice: GpuChoice, nursery: Nursery, *, services: bool
) -> int:
    from clearml_agent_clone.logs import Redactor  # noqa: PLC0415
    from clearml_agent_clone.logs.daemon_log import LogOptions, configure  # noqa: PLC0415
    from clearml_agent_clone.runner.heartbeat import make_sampler  # noqa: PLC0415
    from clearml_agent_clone.util.files import private_dir, slug  # noqa: PLC0415
    from clearml_agent_clone.worker.daemon import Daemon  # noqa: PLC0415
    from clearml_agent_clone.worker.registry import register  # noqa: PLC0415
    from clearml_agent_clone.worker.sight.sight import Sight  # noqa: PLC0415

    settings = loaded.settings
    redactor = Redactor(loaded.secrets)
    engine, words = common.container_of(arguments, loaded, lambda line: print(redactor.redact(line), flush=True))
    client = common.connect(loaded, learn=redactor.add)
    queues = _queues(client, arguments.queue, create=arguments.create_queue)
    registration = register(settings.state_dir, _name(loaded, choice))
    log_file = None
    if not arguments.foreground:
        logs = private_dir(settings.state_dir / "logs")
        log_file = logs / f"daemon-{slug(registration.worker_id)}.log"
        print(f"Running CLEARML-AGENT daemon in background mode, writing stdout/stderr to {log_file}")
    print(f'Worker "{registration.worker_id}" - Listening to queues: {", ".join(queue.name for queue in queues)}')
    sys.stdout.flush()
    client.session.hide = redactor.redact
    agent = settings.agent
    log_options = LogOptions(agent.log_format, agent.log_max_bytes, agent.log_backups, registration.worker_id)
    configure(log_file, debug=arguments.debug, redactor=redactor, options=log_options)
    os.environ["CLEARML_WORKER_ID"] = os.environ["TRAINS_WORKER_ID"] = registration.worker_id
    options = _options(arguments, choice, queues, (engine, words), services=services)
    daemon = Daemon(
        options,
        settings,
        client,
        registration=registration,
        sampler=make_sampler(settings, choice.visible),
        nursery=nursery,
    )
    sight = Sight(
        registration.folder, settings.state_dir, daemon.snapshot, redactor.redact, _metrics_at(arguments, loaded)
    )
    with sight:
        daemon.run(on_ready=lambda: _tell_parent(log_file))
    return 0


def _options(
    arguments: argparse.Namespace,
    choice: GpuChoice,
    queues: tuple[Queue, ...],
    container: tuple[str, tuple[str, ...]],
    *,
    services: bool,
) -> DaemonOptions:
    """What the daemon is to do; ``container`` is what ``common.container_of`` said."""
    from clearml_agent_clone.config.variables_table import (  # noqa: PLC0415
        QUEUE_POLL_FREQ_SEC,
        STATUS_REPORT_FREQ_SEC,
    )
    from clearml_agent_clone.worker.daemon import UNLIMITED, DaemonOptions  # noqa: PLC0415

    capacity = 1 if not services else arguments.services_mode if arguments.services_mode > 0 else UNLIMITED
    return DaemonOptions(
        queues=queues,
        gpus=choice,
        fair=arguments.order_fairness,
        polling_interval=_seconds(QUEUE_POLL_FREQ_SEC, float(max(arguments.polling_interval, 5))),
        report_interval=_seconds(STATUS_REPORT_FREQ_SEC, 30.0),
        capacity=capacity,
        services=services,
        log_level=arguments.log_level,
        optimize=arguments.optimize,
        tags=tuple(arguments.child_report_tags or ()),
        keep_runs=arguments.debug,
        engine=container[0],
        default_container=container[1],
    )


def _metrics_at(arguments: argparse.Namespace, loaded: Loaded) -> Address | None:
    """Where the metrics are to be served, None for nowhere."""
    from clearml_agent_clone.worker.sight.sight import Address  # noqa: PLC0415

    agent = loaded.settings.agent
    if arguments.metrics_port is not None:
        return Address.parse(arguments.metrics_port, agent.metrics_host)
    return Address.parse(str(agent.metrics_port), agent.metrics_host) if agent.metrics_port else None


def _name(loaded: Loaded, choice: GpuChoice) -> WorkerName:
    from clearml_agent_clone.worker.registry import WorkerName  # noqa: PLC0415

    agent = loaded.settings.agent
    return WorkerName.of(agent.worker_id, agent.worker_name or os.uname().nodename, choice.label)


def _queues(client: Client, names: list[str] | None, *, create: bool) -> tuple[Queue, ...]:
    if not names:
        return (client.queues.default(),)
    found = [client.queues.resolve(name, create=create) for name in names]
    return tuple({queue.id: queue for queue in found}.values())


def _seconds(variable: Variable[float], default: float) -> float:
    """The seconds in ``variable``, else ``default``; a pause of none would be a busy loop."""
    value = variable.get(os.environ)
    if value is None:
        return default
    if value <= 0:
        raise UserError(
            f"environment variable {variable.name}: {value:g} is not a number of seconds above 0",
            remedy="Correct or unset the variable",
            code="bad-variable",
        )
    return value


def _tell_parent(log_file: Path | None) -> None:
    """Tell ``--detached``'s parent, which waits for it, that we are up; what is printed from now on has a file."""
    from clearml_agent_clone.worker.detach import READY_VARIABLE  # noqa: PLC0415

    handle = os.environ.pop(READY_VARIABLE, "")
    if not handle:
        return
    with contextlib.suppress(BrokenPipeError):  # the server was away for so long that it has not waited
        os.write(int(handle), b"ready\n")
    os.close(int(handle))
    if log_file is not None:
        from clearml_agent_clone.logs.raw_output import keep_raw_output  # noqa: PLC0415

        with contextlib.suppress(OSError):  # a full disk: the log says what there is to say
            keep_raw_output(log_file.with_suffix(".out"))
