"""The runner: owns one task from the claim to its last status."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from clearml_agent_clone.api.access import ONCE
from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.types import Task
from clearml_agent_clone.config import Loaded
from clearml_agent_clone.environment import EnvironmentSettings, Lease, hold
from clearml_agent_clone.errors import AgentError, Cancelled, Retryable
from clearml_agent_clone.launch.ending import describe
from clearml_agent_clone.launch.local import Launcher
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.launch.running import Running
from clearml_agent_clone.logs import Redactor, Screen, Shipper, Spool, arrived_by
from clearml_agent_clone.logs.batch import LARGEST_REQUEST
from clearml_agent_clone.logs.spool import SPOOL_NAME
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.runner.last_words import LastWords
from clearml_agent_clone.runner.limits import SECTION, Limits, TimeLimit
from clearml_agent_clone.runner.outbox import Outbox
from clearml_agent_clone.runner.outcome import Cause, Outcome, Policy, Verdict
from clearml_agent_clone.runner.patience import Patience
from clearml_agent_clone.runner.preparation import Preparation, Prepared
from clearml_agent_clone.runner.provenance import write_container_back, write_packages_back, write_source_back
from clearml_agent_clone.runner.recovery import Recovery
from clearml_agent_clone.runner.stop import StopRequest, StopSignal
from clearml_agent_clone.runner.taking import StartRefused, Taking
from clearml_agent_clone.runner.task_secrets import FACT as SECRETS
from clearml_agent_clone.runner.task_secrets import recorded_secrets, secrets_of
from clearml_agent_clone.runner.timing import Timing
from clearml_agent_clone.runner.user_code import UserCode
from clearml_agent_clone.runner.watch import Ping, StopCheck
from clearml_agent_clone.util.files import private_dir, read_json, write_json
from clearml_agent_clone.util.loops import Loop, LoopThread

if TYPE_CHECKING:
    from clearml_agent_clone.containers.life import ContainerSite
    from clearml_agent_clone.runner.contained import Contained

log = logging.getLogger(__name__)

_SHOWN = ("repository", "branch", "version_num", "tag", "entry_point", "working_dir")
_DISK_PAUSE = 2.0
_STOP_FILE = "stopping.json"
_PYTHON = "python"


class Runner:
    """Runs the task of one folder, of which it must be the only runner (``RunFolder.hold``).

    Args:
        folder: the run's folder with its job.
        loaded: the configuration.
        client: calls to the server.
        screens: where the console is shown too, for a run in the foreground.
        more_loops: further duties for as long as the task runs (``execute`` reports the machine).
        given_up: the ``stop`` of the client's session, so that a stop does not wait for a server that is away.
        redactor: masks secrets; by default one that knows those of the configuration.
    """

    def __init__(
        self,
        folder: RunFolder,
        loaded: Loaded,
        client: Client,
        *,
        screens: Sequence[Screen] = (),
        more_loops: tuple[Loop, ...] = (),
        given_up: threading.Event | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self.folder = folder
        self.job: Job = folder.job()
        self._loaded = loaded
        self._client = client
        self._journal = Journal.open(folder.state_file)
        self._patience = Patience(given_up or threading.Event())
        self._stop = StopSignal(self._patience)
        self._place = Place(folder.path, self.job.run_id)
        self._site = _site(self.job, self._place)
        self._redactor = Redactor(loaded.secrets) if redactor is None else redactor
        self._learn(recorded_secrets(self._journal.facts.get(SECRETS)))
        client.session.hide = self._redactor.redact
        logs = private_dir(folder.logs)
        self._spool = Spool.open(logs) if (logs / SPOOL_NAME).exists() else Spool.create(logs)
        self._shipper = Shipper(
            self._spool,
            client.events.send,
            self.job.task_id,
            self.job.worker_id,
            folder.logs,
            self._redactor,
            fold_carriage_returns=loaded.settings.agent.suppress_carriage_return,
            screens=screens,
            most_waiting=loaded.settings.agent.console_max_bytes,
            arrived=arrived_by(client.session.call, self.job.task_id),
            largest_request=min(LARGEST_REQUEST, client.session.access.max_request_size),
        )
        self._patience.at_its_end(self._shipper.interrupt)
        self._outbox = Outbox()
        console: tuple[Loop, ...] = (self._shipper.keeper, *self._shipper.echoes)
        loops: tuple[Loop, ...] = (self._shipper, self._outbox, *console, *self._watchers(), *more_loops)
        self._threads = [LoopThread(loop) for loop in loops]
        self._outbox.on_new = self._threads[1].wake
        self._step = "reading the task"
        self._lease: Lease | None = None

    def request_stop(self, request: StopRequest) -> None:
        """Ask for the task's end; the first reason counts. May be called from any thread."""
        self._stop.set(request)

    def run(self) -> Outcome:
        """Run the task to its end and tell the server; returns how it ended.

        Raises:
            AgentError: the agent is being stopped and the server could not be told. All that it has to be told is in
                the folder, for a runner that comes later.
        """
        predecessor = self.folder.process("runner")
        self._insist(lambda: self.folder.claim_for("runner"))
        found = self._journal.state
        known = Outcome.from_record(self._journal.facts.get("outcome"))
        if known is not None:
            outcome = known
        elif found is State.CLAIMED:
            outcome = self._run_new()
        else:
            outcome = self._recover(predecessor, found)
        if self._journal.state is not State.DONE:
            self._finish(outcome)
        return outcome

    def _learn(self, secrets: Collection[str]) -> None:
        if secrets:  # each addition has the redactor prepare itself anew
            self._redactor.add(secrets)

    def _watchers(self) -> list[Loop]:
        agent, tasks, task_id = self._loaded.settings.agent, self._client.tasks, self.job.task_id
        longest = agent.abort_callback_max_timeout
        check = StopCheck(
            lambda: tasks.status(task_id, retry=ONCE),
            self.request_stop,
            worker_id=self.job.worker_id,
            longest_callback=longest,
        )
        interval = agent.task_ping_interval
        return [check, Ping(lambda: tasks.ping(task_id, retry=ONCE), interval)] if interval > 0 else [check]

    def _run_new(self) -> Outcome:
        launcher = Launcher.open(self._place)
        try:
            return self._take_and_run(launcher)
        except Cancelled:
            outcome = self._stop.outcome(None, begun=self._journal.state is not State.CLAIMED)
        except StartRefused as error:
            outcome = Outcome(Cause.START_REFUSED, None, str(error), begun=False)
        except AgentError as error:
            unbegun = error.code == "task-not-startable"
            outcome = Outcome(Cause.NOT_STARTED, None, str(error)) if unbegun else Outcome.of_error(self._step, error)
        except OSError as error:
            outcome = Outcome(Cause.PREPARATION, None, str(error), self._step)
        except Exception as error:  # a bug of ours must not leave the task in progress for ever
            log.exception("internal error")
            outcome = Outcome(Cause.PREPARATION, None, f"internal error of the agent: {error!r}", self._step)
        if self._site is not None:
            self._site.clear()
        left = launcher.close()  # git and uv too, should they have left somebody behind
        if left:
            log.error("processes did not end even when killed: %s", describe(left))
        if outcome.cause is Cause.PREPARATION:
            self._spool.say(f"clearml_agent: ERROR: {outcome.detail}")
        return outcome

    def _take_and_run(self, launcher: Launcher) -> Outcome:
        taking = Taking(self.job, self._client.tasks, self._changed_by, self._stop.cancel)
        task = taking.read()
        secrets = secrets_of(task)
        self._learn(secrets)
        # written down for a runner that comes after us: what the process prints then is the same
        self._move(State.PREPARING, **({SECRETS: sorted(secrets)} if secrets else {}))
        taking.start(task)
        for thread in self._threads:
            thread.start()
        self._introduce(task)
        timing = Timing()
        token = self._client.session.token if self._loaded.settings.api.auth_token else ""
        self._learn([token] if token else [])
        spool, cancel = self._spool, self._stop.cancel
        contained = self._contained(task, token)
        preparation = Preparation(
            task,
            self.job,
            self.folder,
            self._loaded,
            spool,
            cancel,
            timing,
            on_step=self._on_step,
            token=token,
            as_sent=lambda: self._client.tasks.as_sent(task.id),
            on_secrets=self._learn,
            on_source=lambda source: write_source_back(task, source, self._client.tasks, self._outbox),
            contained=contained,
        )
        prepared = preparation.run()
        self._lease = prepared.environment.lease
        return self._run_user_code(launcher, task, prepared, timing)

    def _contained(self, task: Task, token: str) -> Contained | None:
        """Decide about the task's container; None when it runs on this machine."""
        if self._site is None:
            return None
        from clearml_agent_clone.runner.contained import Contained  # noqa: PLC0415 - most agents have no containers
        from clearml_agent_clone.runner.container_choice import decide_container  # noqa: PLC0415 - as below

        self._on_step("container")
        decided = decide_container(task, self.job, self._loaded, self._client)
        site, spool, cancel = self._site, self._spool, self._stop.cancel
        made = Contained(site.engine, task, self.job, self.folder, self._loaded, decided, spool, cancel, token)
        made.announce()
        write_container_back(task, decided, self._client.tasks, self._outbox)
        return made

    def _on_step(self, step: str) -> None:
        self._step = step

    def _introduce(self, task: Task) -> None:
        """What may come a moment later: who runs the task, and the first lines of its console."""
        job, client = self.job, self._client
        host = os.uname().nodename
        self._outbox.put(
            "reporting the worker",
            lambda: client.workers.report(job.worker_id, task=job.task_id, queue=job.queue_id or None, retry=ONCE),
        )
        self._outbox.put(
            "naming the host",
            lambda: client.tasks.set_runtime(job.task_id, {"_exec_agent_hostname": host}, retry=ONCE),
        )
        if job.queue_id:
            self._shipper.remark("INFO", f"task {job.task_id} pulled from {job.queue_id} by worker {job.worker_id}")
        self._spool.say(f"Executing task id [{task.id}]:")
        for name in _SHOWN:
            self._spool.say(f"{name} = {getattr(task.script, name)}")

    def _run_user_code(self, launcher: Launcher, task: Task, prepared: Prepared, timing: Timing) -> Outcome:
        if prepared.made is None:
            write_json(self.folder.sdk_config, self._loaded.tree, durable=False)
        write_packages_back(task, prepared.environment, self._client.tasks, self._outbox)
        if self._stop.cancel.is_set():
            raise Cancelled
        job, say = self.job, self._spool.say
        limits = Limits.decide(
            task.hyperparams.get(SECTION, {}),
            self._loaded.settings.agent,
            lambda text: say(f"clearml_agent: WARNING: {text}"),
        )
        python = prepared.environment.python
        self._move(State.RUNNING, limits=limits.to_record(), **({_PYTHON: str(python)} if python else {}))
        timing.total = time.time() - job.claimed_at
        if job.queued_at is not None and job.queued_at <= job.claimed_at:
            timing.queued = job.claimed_at - job.queued_at
        say("Environment setup completed successfully")
        say("Starting Task Execution:")
        say(f"Running task id [{task.id}]:")
        say(prepared.launch.describe(task.script.working_dir))
        say(timing.line())
        held = () if self._lease is None else (self._lease.fileno(),)
        if self._site is not None and prepared.made is not None:
            running = self._site.start(launcher, prepared.made.id, prepared.made.order, self._spool.fd, held)
        else:
            running = launcher.start(prepared.launch, self._spool.fd, held)
        self._limit(running)
        return self._user_code(running).watch()

    @property
    def _limits(self) -> Limits:
        return Limits.from_record(self._journal.facts.get("limits"), self._loaded.settings.agent)

    def _limit(self, running: Running) -> None:
        """Begin to watch the process's time, if that is limited."""
        seconds = self._limits.seconds
        if seconds > 0:
            thread = LoopThread(TimeLimit(seconds, lambda: running.main.age, self.request_stop))
            self._threads.append(thread)
            thread.start()

    def _user_code(self, running: Running) -> UserCode:
        return UserCode(
            running,
            self._spool,
            self._stop,
            self._limits.manner,
            look=lambda: self._client.tasks.status(self.job.task_id),
            announce=lambda text: self._shipper.remark("ERROR", text),
            note=self._note_stop,
        )

    def _note_stop(self, request: StopRequest) -> None:
        """Write down that we are ending the task, before its process can notice."""
        try:
            write_json(self.folder.path / _STOP_FILE, request.to_record(), durable=False)
        except AgentError as error:  # a full disk must not keep the task running
            log.warning("%s", error)

    def _recover(self, predecessor: Any, found: State) -> Outcome:
        """End what our predecessor has left; what it was ending already, ends for its reason."""
        request = StopRequest.from_record(read_json(self.folder.path / _STOP_FILE))
        if request is not None:
            self._stop.resume(request)
        python = self._journal.facts.get(_PYTHON)
        if isinstance(python, str):  # nobody shall take its environment away, and we are to let go of it at the end
            self._lease = hold(Path(python), EnvironmentSettings.from_settings(self._loaded.settings, os.environ))
        outcome = self._recovery(predecessor).run(found)
        if request is None or outcome.cause not in {Cause.EXIT, Cause.RUNNER_LOST}:
            return outcome
        return Outcome(request.cause, outcome.exit_code, request.detail)

    def _recovery(self, predecessor: Any) -> Recovery:
        def watch(running: Running) -> None:
            for thread in self._threads:
                thread.start()
            self._limit(running)

        adopt = self._loaded.settings.agent.on_runner_loss == "adopt"
        recovery = Recovery(self.job, self._place, predecessor, adopt, watch, self._user_code)
        site = self._site
        return recovery if site is None else attrs.evolve(recovery, find=site.find, clear=site.clear)

    def _finish(self, outcome: Outcome) -> None:
        """Deliver the console, then set the status; both are repeated until the server has taken them."""
        said_before = self._journal.state is State.FINISHING
        if not said_before:
            self._move(State.FINISHING, outcome=outcome.to_record())
        for thread in self._threads:
            thread.stop(0.0)
        self._patience.begin_last_words()
        ending = outcome.ending_by(self._policy)
        if ending.console and not self._shipper.remarked(ending.console):  # an earlier runner may have died over it
            given_up = self._patience.given_up
            self._outbox.drain(given_up.wait, give_up=given_up.is_set)
            self._shipper.remark("ERROR" if ending.verdict is Verdict.FAILED else "INFO", ending.console)
        if outcome.cause is not Cause.NOT_STARTED:
            delivery = self._shipper.finish()
            if not delivery.complete:
                log.warning("%d bytes of console were not delivered: %s", delivery.undelivered_bytes, delivery.errors)
        else:
            log.warning("%s", outcome.detail)
        LastWords(self.job, self._client.tasks, self._changed_by, said_before).say(ending)
        self._move(State.DONE, ending=ending.to_record())
        self._patience.end()
        if self._lease is not None:
            self._lease.release()
        self._spool.close()

    @property
    def _policy(self) -> Policy:
        agent = self._loaded.settings.agent
        return Policy(agent.on_shutdown, agent.on_node_loss, agent.on_start_failure, has_queue=bool(self.job.queue_id))

    def _move(self, state: State, **facts: Any) -> None:
        self._insist(lambda: self._journal.move(state, **facts))

    def _insist(self, write: Callable[[], None]) -> None:
        """Write something down without which we cannot go on: a full disk is waited for, until we are to end."""
        told = False
        while True:
            try:
                write()
            except Retryable as error:  # noqa: PERF203 - it waits anyway
                if not told:
                    log.warning("%s; waiting for room", error)
                told = True
                if self._stop.hurried():
                    raise
                time.sleep(_DISK_PAUSE)
            else:
                return

    @property
    def _changed_by(self) -> str:
        return f"Changed by clearml-agent {self.job.worker_id}"


def _site(job: Job, place: Place) -> ContainerSite | None:
    """Where the run's container is; None for a task that runs on this machine."""
    if not job.engine:
        return None
    from clearml_agent_clone.containers.life import site_of  # noqa: PLC0415 - most agents have no containers

    return site_of(job.engine, place)
