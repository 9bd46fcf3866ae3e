"""``execute``: the same runner, with the console on the terminal and the task's exit code as our own."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

import attrs

from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.types import Task, TaskStatus
from clearml_agent_clone.config import Loaded
from clearml_agent_clone.errors import Cancelled, Retryable, UserError
from clearml_agent_clone.launch.gpus import choose_gpus
from clearml_agent_clone.launch.plan import RUN_MARK
from clearml_agent_clone.logs import Redactor, Screen
from clearml_agent_clone.runner.heartbeat import OwnWorker
from clearml_agent_clone.runner.job import Job, RunFolder, new_run_id
from clearml_agent_clone.runner.outcome import Cause, Outcome
from clearml_agent_clone.runner.runner import Runner
from clearml_agent_clone.runner.signals import stop_on_signals

_STARTABLE = tuple(
    status.value
    for status in TaskStatus
    if status not in {TaskStatus.PUBLISHED, TaskStatus.PUBLISHING, TaskStatus.UNKNOWN}
)


@attrs.frozen
class ForegroundOptions:
    """The flags of ``execute``. ``engine`` and ``default_container`` are those of ``Job``."""

    clone: bool = False
    require_queue: bool = False
    log_file: str | None = None
    gpus: str | None = None
    cpu_only: bool = False
    log_level: str = "INFO"
    optimize: int = 0
    keep_run: bool = False
    engine: str = ""
    default_container: tuple[str, ...] = ()


def run_in_foreground(
    task: Task,
    loaded: Loaded,
    client: Client,
    options: ForegroundOptions,
    *,
    given_up: threading.Event,
    redactor: Redactor,
) -> int:
    """Run ``task`` and return the exit code of the command.

    Args:
        task: what to run.
        loaded: the configuration.
        client: calls to the server.
        options: the flags.
        given_up: the ``stop`` of the client's session.
        redactor: masks secrets in all that is shown.

    Raises:
        UserError: the task must not be run, or is in no queue although it has to be.
    """
    task = _made_ours(task, client, options)
    settings = loaded.settings
    choice = choose_gpus(options.gpus, cpu_only=options.cpu_only, environ=os.environ)
    worker_id = settings.agent.worker_id or f"{settings.agent.worker_name or os.uname().nodename}:{os.getpid()}"
    now = time.time()
    job = Job(
        run_id=new_run_id(task.id, now),
        task_id=task.id,
        worker_id=worker_id,
        claimed_at=now,
        visible_devices=choice.visible,
        log_level=options.log_level,
        optimize=options.optimize,
        may_start_from=_STARTABLE,
        reports_worker=True,
        engine=options.engine,
        default_container=options.default_container,
    )
    folder = RunFolder.create(settings.state_dir / "runs", job)
    folder.hold()  # until we end: a daemon takes folders that nobody holds for runs whose runner died
    try:
        _leave_queue(task, client, options)
    except BaseException:  # whatever it is, there is no run
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    os.environ[RUN_MARK] = job.run_id  # git and uv carry it too: whatever happens to us, they can be found
    own = OwnWorker(worker_id, task.id, "", settings, client)
    with _screens(options.log_file) as screens:
        runner = Runner(
            folder, loaded, client, screens=screens, more_loops=own.loops, given_up=given_up, redactor=redactor
        )
        with stop_on_signals(runner):
            outcome = _run(runner)
    own.leave()
    if not options.keep_run:
        shutil.rmtree(folder.path, ignore_errors=True)
    if outcome.cause is Cause.NOT_STARTED:
        raise UserError(outcome.detail, code="task-not-startable")
    return outcome.shell_code


def _run(runner: Runner) -> Outcome:
    try:
        return runner.run()
    except (Retryable, Cancelled) as error:
        raise Retryable(
            f"the server was not told how task {runner.job.task_id} ended",
            remedy=f"What it should know is in {runner.folder.path}",
            code="not-told",
        ) from error


def _made_ours(task: Task, client: Client, options: ForegroundOptions) -> Task:
    """The task that is to run: itself, or its clone."""
    if options.clone:
        return client.tasks.get(client.tasks.clone(task.id, name=f"Clone of {task.name}"))
    if task.status.value not in _STARTABLE:
        raise UserError(
            f"task {task.id} is {task.status.value} and cannot be run again",
            remedy="Run a clone of it with --clone",
            code="task-not-startable",
        )
    return task


def _leave_queue(task: Task, client: Client, options: ForegroundOptions) -> None:
    """Take the task out of its queue, if it waits in one, so that no worker takes it too.

    From here on it is in progress, so there must be a folder, or nobody would end it should we be killed.
    """
    if options.clone:
        return
    if task.status in {TaskStatus.QUEUED, TaskStatus.IN_PROGRESS}:
        dequeued = client.tasks.dequeue(task.id, new_status=TaskStatus.IN_PROGRESS.value)
        if options.require_queue and not dequeued:
            raise _not_queued(task)
    elif options.require_queue:
        raise _not_queued(task)


def _not_queued(task: Task) -> UserError:
    return UserError(
        f"task {task.id} is {task.status.value}, it waits in no queue",
        remedy="Enqueue it, or leave --require-queue out",
        code="task-not-queued",
    )


@contextlib.contextmanager
def _screens(log_file: str | None) -> Iterator[list[Screen]]:
    """The console goes to our stdout and, if wanted, to a file."""
    with contextlib.ExitStack() as stack:
        screens = [_screen(sys.stdout)]
        if log_file is not None:
            try:
                file = stack.enter_context(open(log_file, "w", encoding="utf-8"))  # noqa: PTH123 - as given
            except OSError as error:
                raise UserError(
                    f"--log-file {log_file}: {error.strerror}",
                    remedy="Choose a file that can be written",
                    code="log-file",
                ) from error
            screens.append(_screen(file))
        yield screens


def _screen(target: TextIO) -> Screen:
    def write(text: str) -> None:
        target.write(text)
        target.flush()

    return Screen(write, terminal=target.isatty())
