"""The runner: owns one task from the claim to its last status."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.types import Requirements, Task, TaskStatus
from clearml_agent_clone.config import Loaded
from clearml_agent_clone.environment import Lease, write_back
from clearml_agent_clone.errors import AgentError, Cancelled, Fatal, UserError
from clearml_agent_clone.launch.processes import end_all, members
from clearml_agent_clone.logs import Redactor, Shipper, Spool, arrived_by
from clearml_agent_clone.logs.batch import LARGEST_REQUEST
from clearml_agent_clone.logs.spool import SPOOL_NAME
from clearml_agent_clone.runner.job import Job, RunFolder
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.runner.outbox import Outbox
from clearml_agent_clone.runner.outcome import Cause, Outcome, Verdict
from clearml_agent_clone.runner.preparation import Preparation, Prepared
from clearml_agent_clone.runner.stop import StopRequest, StopSignal
from clearml_agent_clone.runner.timing import Timing
from clearml_agent_clone.runner.user_code import UserCode
from clearml_agent_clone.runner.watch import Ping, StopCheck
from clearml_agent_clone.util.files import private_dir, write_json
from clearml_agent_clone.util.loops import Loop, LoopThread

log = logging.getLogger(__name__)

_SHOWN = ("repository", "branch", "version_num", "tag", "entry_point", "working_dir")
_START_WITHOUT_FORCE = frozenset({TaskStatus.QUEUED, TaskStatus.CREATED, TaskStatus.IN_PROGRESS})


class Runner:
    """Runs the task of one folder.

    Args:
        folder: the run's folder with its job.
        loaded: the configuration.
        client: calls to the server.
        echo: gets the console too, for a run in the foreground.
        more_loops: further duties for as long as the task runs (``execute`` reports the machine).
    """

    def __init__(
        self,
        folder: RunFolder,
        loaded: Loaded,
        client: Client,
        *,
        echo: Callable[[str], None] | None = None,
        more_loops: tuple[Loop, ...] = (),
    ) -> None:
        self.folder = folder
        self.job: Job = folder.job()
        self._loaded = loaded
        self._client = client
        self._journal = Journal.open(folder.state_file)
        self._stop = StopSignal()
        logs = private_dir(folder.logs)
        self._spool = Spool.open(logs) if (logs / SPOOL_NAME).exists() else Spool.create(logs)
        self._shipper = Shipper(
            self._spool,
            client.events.send,
            self.job.task_id,
            self.job.worker_id,
            folder.logs,
            Redactor(loaded.secrets),
            fold_carriage_returns=loaded.settings.agent.suppress_carriage_return,
            echo=echo,
            arrived=arrived_by(client.session.call, self.job.task_id),
            largest_request=min(LARGEST_REQUEST, client.session.access.max_request_size),
        )
        self._outbox = Outbox()
        loops: tuple[Loop, ...] = (self._shipper, self._outbox, *self._watchers(), *more_loops)
        self._threads = [LoopThread(loop) for loop in loops]
        self._outbox.on_new = self._threads[1].wake
        self._step = "reading the task"
        self._lease: Lease | None = None

    def request_stop(self, request: StopRequest) -> None:
        """Ask for the task's end; the first reason counts. May be called from any thread."""
        self._stop.set(request)

    def run(self) -> Outcome:
        """Run the task to its end and tell the server; returns how it ended."""
        self.folder.claim_for("runner")
        found = self._journal.state
        outcome = self._run_new() if found is State.CLAIMED else self._recover(found)
        if self._journal.state is not State.DONE:
            self._finish(outcome)
        return outcome

    def _watchers(self) -> list[Loop]:
        agent, tasks, task_id = self._loaded.settings.agent, self._client.tasks, self.job.task_id
        longest = agent.abort_callback_max_timeout
        check = StopCheck(lambda: tasks.status(task_id), self.request_stop, longest_callback=longest)
        interval = agent.task_ping_interval
        return [check, Ping(lambda: tasks.ping(task_id), interval)] if interval > 0 else [check]

    def _run_new(self) -> Outcome:
        try:
            return self._take_and_run()
        except Cancelled:
            return self._stop.outcome(None)
        except AgentError as error:
            outcome = Outcome.of_error(self._step, error)
        except OSError as error:
            outcome = Outcome(Cause.PREPARATION, None, str(error), self._step)
        except Exception as error:  # a bug of ours must not leave the task in progress for ever
            log.exception("internal error")
            outcome = Outcome(Cause.PREPARATION, None, f"internal error of the agent: {error!r}", self._step)
        if self._journal.state is State.CLAIMED:
            return Outcome(Cause.NOT_STARTED, None, outcome.detail)
        self._spool.say(f"clearml_agent: ERROR: {outcome.detail}")
        return outcome

    def _take_and_run(self) -> Outcome:
        task = self._take()
        for thread in self._threads:
            thread.start()
        self._introduce(task)
        timing = Timing()
        preparation = Preparation(
            task, self.job, self.folder, self._loaded, self._spool, self._stop.cancel, timing, on_step=self._on_step
        )
        prepared = preparation.run()
        self._lease = prepared.environment.lease
        return self._run_user_code(task, prepared, timing)

    def _on_step(self, step: str) -> None:
        self._step = step

    def _take(self) -> Task:
        """Make the task ours: read it, check that it may run, set it in progress.

        Raises:
            UserError: it is gone, or somebody changed it so that it must not be run.
        """
        task = self._client.tasks.get(self.job.task_id)
        if task.status.value not in self.job.may_start_from:
            raise UserError(
                f"task {task.id} is {task.status.value}, it is not run",
                remedy="Reset or clone it to run it again",
                code="task-not-startable",
            )
        self._journal.move(State.PREPARING)
        try:
            self._client.tasks.started(
                task.id,
                reason="worker started execution",
                message=self._changed_by,
                force=task.status not in _START_WITHOUT_FORCE,
                retry=Retry.forever(),
            )
        except Fatal as error:
            self._journal.move(State.FINISHING, outcome=Outcome(Cause.NOT_STARTED, None, str(error)).to_record())
            raise
        return task

    def _introduce(self, task: Task) -> None:
        """What may come a moment later: who runs the task, and the first lines of its console."""
        job, client = self.job, self._client
        host = os.uname().nodename
        self._outbox.put(
            "reporting the worker",
            lambda: client.workers.report(job.worker_id, task=job.task_id, queue=job.queue_id or None),
        )
        self._outbox.put(
            "naming the host", lambda: client.tasks.set_runtime(job.task_id, {"_exec_agent_hostname": host})
        )
        if job.queue_id:
            self._shipper.remark("INFO", f"task {job.task_id} pulled from {job.queue_id} by worker {job.worker_id}")
        self._spool.say(f"Executing task id [{task.id}]:")
        for name in _SHOWN:
            self._spool.say(f"{name} = {getattr(task.script, name)}")

    def _write_back(self, task: Task, prepared: Prepared) -> None:
        tasks, commit = self._client.tasks, prepared.source.commit
        packages = write_back(task.script.requirements, prepared.environment.installed)
        if packages:
            requirements = Requirements.from_wire(packages)
            self._outbox.put("writing installed packages back", lambda: tasks.set_requirements(task.id, requirements))
        if commit and not task.script.version_num:
            self._outbox.put("writing the commit back", lambda: tasks.edit(task.id, script={"version_num": commit}))

    def _run_user_code(self, task: Task, prepared: Prepared, timing: Timing) -> Outcome:
        write_json(self.folder.sdk_config, self._loaded.tree, durable=False)
        self._write_back(task, prepared)
        if self._stop.cancel.is_set():
            raise Cancelled
        job, say = self.job, self._spool.say
        self._journal.move(State.RUNNING)
        timing.total = time.time() - job.claimed_at
        if job.queued_at is not None and job.queued_at <= job.claimed_at:
            timing.queued = job.claimed_at - job.queued_at
        say("Environment setup completed successfully")
        say("Starting Task Execution:")
        say(f"Running task id [{task.id}]:")
        say(prepared.launch.describe(task.script.working_dir))
        say(timing.line())
        user_code = UserCode(
            prepared.launch,
            self._spool,
            self._stop,
            self._loaded.settings.agent.abort_grace_sec,
            look=lambda: self._client.tasks.status(task.id),
            announce=lambda text: self._shipper.remark("ERROR", text),
            started=lambda pid: self.folder.claim_for("user", pid),
            held=() if self._lease is None else (self._lease.fileno(),),
        )
        return user_code.run()

    def _recover(self, found: State) -> Outcome:
        """Bring a run to its end whose runner died: nothing is run again, nothing is left running."""
        known = Outcome.from_record(self._journal.facts.get("outcome"))
        if known is not None:
            return known
        user = self.folder.process("user")
        session = user.pid if user is not None and user.alive else None
        end_all(lambda: members(self.job.run_id, session), self._loaded.settings.agent.abort_grace_sec)
        return Outcome(Cause.RUNNER_LOST, None, f"the agent's runner died while the task was {found.value}")

    def _finish(self, outcome: Outcome) -> None:
        """Deliver the console, then set the status; both are repeated until the server has taken them."""
        if self._journal.state is not State.FINISHING:
            self._journal.move(State.FINISHING, outcome=outcome.to_record())
        for thread in self._threads:
            thread.stop(0.0)
        ending = outcome.ending
        if ending.console:
            self._outbox.drain()
            self._shipper.remark("ERROR" if ending.verdict is Verdict.FAILED else "INFO", ending.console)
        if outcome.cause is not Cause.NOT_STARTED:
            delivery = self._shipper.finish()
            if not delivery.complete:
                log.warning("%d bytes of console were not delivered: %s", delivery.undelivered_bytes, delivery.errors)
        self._report(outcome)
        self._journal.move(State.DONE)
        if self._lease is not None:
            self._lease.release()
        self._spool.close()

    def _report(self, outcome: Outcome) -> None:
        ending, tasks = outcome.ending, self._client.tasks
        calls = {Verdict.COMPLETED: tasks.completed, Verdict.FAILED: tasks.failed, Verdict.STOPPED: tasks.stopped}
        call = calls.get(ending.verdict)
        if call is None:
            return
        try:
            call(self.job.task_id, reason=ending.reason, message=self._changed_by, retry=Retry.forever())
        except Fatal as error:
            log.warning("status %s was refused: %s", ending.verdict.value, error)

    @property
    def _changed_by(self) -> str:
        return f"Changed by clearml-agent {self.job.worker_id}"
