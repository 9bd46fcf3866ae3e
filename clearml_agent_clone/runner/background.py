"""A runner without a terminal: what the daemon starts."""

from __future__ import annotations

import configparser  # noqa: F401 - like those below, needed on the way: imported here, the nursery has paid for it
import contextlib
import logging
import os
import socket
import threading
from pathlib import Path

import psutil  # noqa: F401

from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.renewal import access_anew
from clearml_agent_clone.api.session import ServerAccess, Session
from clearml_agent_clone.config import load_settings
from clearml_agent_clone.errors import AgentError, UserError
from clearml_agent_clone.launch.plan import RUN_MARK
from clearml_agent_clone.logs import Redactor
from clearml_agent_clone.logs.daemon_log import LogOptions, configure
from clearml_agent_clone.runner.heartbeat import OwnWorker
from clearml_agent_clone.runner.job import RunFolder
from clearml_agent_clone.runner.outcome import Outcome
from clearml_agent_clone.runner.runner import Runner
from clearml_agent_clone.runner.signals import stop_on_signals

log = logging.getLogger(__name__)


def become_runner(folder: Path) -> int:
    """Run the task of ``folder``; the exit code says whether the runner itself came to its end."""
    configure(None, debug=False, redactor=Redactor())  # stderr, until the configuration says what is secret
    lock = RunFolder(folder).hold()
    if lock is None:
        log.warning("%s has a runner already", folder)
        return 0
    try:
        run_in_background(folder)
    except AgentError as error:
        log.error("%s", error)  # noqa: TRY400 - it says all there is to say
        return 1
    return 0


def run_in_background(path: Path) -> Outcome:
    """Run the task whose folder is ``path``."""
    loaded = load_settings()
    given_up = threading.Event()
    redactor = Redactor(loaded.secrets)
    folder = RunFolder(path)
    agent = loaded.settings.agent
    size = LogOptions(max_bytes=agent.log_max_bytes, backups=min(agent.log_backups, 1))
    with contextlib.suppress(UserError):  # a task must not fail for the sake of its runner's log
        configure(folder.log_file, debug=False, redactor=redactor, options=size)
    session = Session(
        ServerAccess.from_settings(loaded.settings.api),
        host_name=socket.gethostname(),
        stop=given_up,
        known=True,  # the task came from there
        reload=access_anew(loaded, redactor.add),
    )
    client = Client(session)
    job = folder.job()
    os.environ[RUN_MARK] = job.run_id  # git and uv carry it too: should we be killed, our successor ends them
    own = OwnWorker(job.worker_id, job.task_id, job.queue_id, loaded.settings, client) if job.reports_worker else None
    runner = Runner(folder, loaded, client, more_loops=own.loops if own else (), given_up=given_up, redactor=redactor)
    with stop_on_signals(runner):
        outcome = runner.run()
    if own is not None:
        own.leave()
    return outcome
