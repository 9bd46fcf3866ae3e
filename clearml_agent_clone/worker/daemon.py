"""The daemon: puts the loops together, waits for runners to end, stops in the way it was asked to."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import attrs

from clearml_agent_clone import __version__
from clearml_agent_clone.api.access import ONCE
from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.types import Entry, Queue, TaskStatus
from clearml_agent_clone.config import Settings
from clearml_agent_clone.errors import AgentError, Retryable
from clearml_agent_clone.launch.ending import end_all, members
from clearml_agent_clone.launch.gpus import GpuChoice
from clearml_agent_clone.launch.local import clear
from clearml_agent_clone.launch.place import Place
from clearml_agent_clone.monitoring import Sampler
from clearml_agent_clone.runner.heartbeat import GOODBYE, Doing, Heartbeat
from clearml_agent_clone.runner.job import Job, new_run_id
from clearml_agent_clone.runner.journal import Journal, State
from clearml_agent_clone.runner.outcome import Cause, Outcome
from clearml_agent_clone.util.loops import Backoff, Loop, LoopThread
from clearml_agent_clone.worker import containers
from clearml_agent_clone.worker.claims import Claims, HoldOff, unix_time
from clearml_agent_clone.worker.departure import Departure
from clearml_agent_clone.worker.estate import Estate
from clearml_agent_clone.worker.fates import fate_of, summary
from clearml_agent_clone.worker.housekeeping import Housekeeping
from clearml_agent_clone.worker.listening import Listening
from clearml_agent_clone.worker.nursery import Nursery
from clearml_agent_clone.worker.reconcile import Reconciler
from clearml_agent_clone.worker.records import POLL_FILE, ClaimRecord, PollRecord
from clearml_agent_clone.worker.registry import Registration
from clearml_agent_clone.worker.reporting import Reporting
from clearml_agent_clone.worker.runners import ActiveRun, Runners, StartFailed, sweep_leftovers
from clearml_agent_clone.worker.settling import Duty, Fate, Settling, settle
from clearml_agent_clone.worker.sight.snapshot import AgentState, DaemonSnapshot, LoopView, QueueName, ServerView
from clearml_agent_clone.worker.sight.tally import Tally
from clearml_agent_clone.worker.stopmode import StopMode

__all__ = ["UNLIMITED", "Daemon", "DaemonOptions", "StopMode"]

log = logging.getLogger(__name__)

UNLIMITED = 1_000_000

_LOOK_WHILE_LEAVING = 0.2
_DELIVER_AGAIN = 30.0
_POLL_PATIENCE = 45.0
_POLL_PATIENCE_NOW = 3.0


@attrs.frozen
class DaemonOptions:
    """What the command line decided.

    ``capacity`` is how many tasks run at once; ``services`` gives each a worker id of its own; ``engine`` and
    ``default_container`` are those of ``Job``.
    """

    queues: tuple[Queue, ...]
    gpus: GpuChoice = attrs.Factory(GpuChoice)
    fair: bool = False
    polling_interval: float = 5.0
    report_interval: float = 30.0
    capacity: int = 1
    services: bool = False
    log_level: str = "INFO"
    optimize: int = 0
    tags: tuple[str, ...] = ()
    keep_runs: bool = False
    engine: str = ""
    default_container: tuple[str, ...] = ()


class Daemon:
    """One worker. ``run`` returns when it was stopped."""

    def __init__(
        self,
        options: DaemonOptions,
        settings: Settings,
        client: Client,
        *,
        registration: Registration,
        sampler: Sampler,
        nursery: Nursery,
    ) -> None:
        self._options = options
        self._client = client
        self._agent = settings.agent
        self._registration = registration
        self._started_at = time.time()
        self._tally = Tally()
        self._bug: Exception | None = None
        self._ending: set[str] = set()
        self._hold = HoldOff()
        self._polls_are_held = False
        self._runs = settings.state_dir / "runs"
        self._runners = Runners(self._runs, nursery, self._changed, keep=options.keep_runs)
        self._departure = Departure(registration, self._runners.wake)
        self._listening = Listening(client.queues, options.queues)
        self._settling = Settling(client.tasks, lambda duty: self._runners.discard(duty.folder))
        self._claim_record = ClaimRecord(registration.folder / "claim.json")
        self._polls = PollRecord(registration.folder / POLL_FILE, time.time())
        self._claim_loop = self._make_claims()
        self._claims = self._thread(self._claim_loop)
        self._settler = self._thread(self._settling)
        self._settling.on_new = self._settler.wake
        self._heartbeat = self._thread(self._make_heartbeat(sampler))
        reconciler = self._thread(self._make_reconciler())
        self._polls.on_doubt = reconciler.wake
        self._threads = (
            self._claims,
            self._settler,
            self._heartbeat,
            reconciler,
            self._thread(
                Estate(settings.state_dir, registration.worker_id, self._runners, self._settling, self._polls)
            ),
            self._thread(sampler),
            self._thread(Housekeeping(settings.state_dir)),
        )

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until stopped; ``on_ready`` is called when the worker is registered.

        Raises:
            AgentError: the server does not let us register.
            Exception: an error of our own, if ``agent.crash_on_exception`` says so. Runners go on in any case.
        """
        names = [queue.name or queue.id for queue in self._options.queues]
        worker_id = self._registration.worker_id
        self._registration.describe(tuple(names))
        with self._departure.signals():
            try:
                self._client.workers.register(worker_id, self._listening.ids, tags=self._options.tags)
                self._polls_are_held = self._client.queues.waits
            except AgentError:
                self._registration.release()
                raise
            log.info('worker "%s" listens to %s', worker_id, ", ".join(names))
            on_ready()
            self._adopt()
            for thread in self._threads:
                thread.start()
            self._work()
        self._leave()

    def request_stop(self, mode: StopMode) -> None:
        """Ask for the end; a stop that is under way becomes only less patient. Safe in a signal handler."""
        self._departure.ask(mode)

    def snapshot(self) -> DaemonSnapshot:
        """How the daemon is right now; may be called from any thread."""
        running, now = len(self._runners.active), time.monotonic()
        return DaemonSnapshot(
            self._registration.worker_id,
            os.getpid(),
            __version__,
            self._started_at,
            self._state(running),
            tuple(QueueName(queue.id, queue.name) for queue in self._options.queues),
            None if self._options.capacity >= UNLIMITED else self._options.capacity,
            running,
            tuple(LoopView.of(thread.health, now) for thread in self._threads),
            ServerView.of(self._client.session),
            self._tally.finished,
            self._client.session.traffic.counts,
        )

    # the parts

    def _thread(self, loop: Loop) -> LoopThread:
        return LoopThread(Reporting(loop, self._on_bug) if self._agent.crash_on_exception else loop)

    def _make_claims(self) -> Claims:
        return Claims(
            self._client.queues,
            self._listening,
            self._claim_record,
            self._polls,
            free=self._free,
            accept=self._accept,
            give_up=self._give_up_entry,
            hold=self._hold,
            interval=self._options.polling_interval,
            fair=self._options.fair,
        )

    def _make_heartbeat(self, sampler: Sampler) -> Heartbeat:
        return Heartbeat(
            self._client.workers,
            self._registration.worker_id,
            queue_ids=self._listening.ids,
            doing=self._doing,
            take_stats=sampler.take,
            interval=self._options.report_interval,
            tags=self._options.tags,
        )

    def _make_reconciler(self) -> Reconciler:
        return Reconciler(
            self._client.tasks,
            self._client.queues,
            self._polls,
            held=lambda: {job.task_id for job, _ in self._runners.folders()},
            worker_id=self._registration.worker_id,
        )

    # taking tasks

    def _free(self) -> int:
        if self._departure.mode is not None:
            return 0
        return self._options.capacity - self._runners.taken - len(self._ending)

    def _accept(self, entry: Entry, claim: str) -> None:
        if self._departure.mode is not None:
            raise Retryable("the agent is being stopped")
        jobs = [run.job for run in self._runners.active] + [duty.job for duty in self._settling.open]
        if any(job.claim_id == claim and job.task_id == entry.task for job in jobs):
            return  # a daemon before us had written it down, and died before it could forget the claim
        job = attrs.evolve(self._job(entry), claim_id=claim)
        log.info("task %s taken from queue %s", entry.task, entry.queue)
        try:
            self._runners.start(job)
        except StartFailed as error:
            fate = Fate(self._agent.on_start_failure)
            self._settling.owe(Duty(job, error.folder, fate, f"the agent could not start it: {error}"))
            log.error("task %s: %s; no task is taken for %.0f s", job.task_id, error, self._hold.failed())  # noqa: TRY400

    def _job(self, entry: Entry) -> Job:
        options, now, worker_id = self._options, time.time(), self._registration.worker_id
        return Job(
            run_id=new_run_id(entry.task, now),
            task_id=entry.task,
            worker_id=f"{worker_id}:service:{entry.task}" if options.services else worker_id,
            owner_id=worker_id,
            queue_id=entry.queue,
            queued_at=unix_time(entry.added),
            claimed_at=now,
            visible_devices=options.gpus.visible,
            log_level=options.log_level,
            optimize=options.optimize,
            reports_worker=options.services,
            engine=options.engine,
            default_container=options.default_container,
        )

    def _give_up_entry(self, entry: Entry, why: str) -> None:
        """Have a task that could not be written down run by somebody else, or failed."""
        seen = self._client.tasks.status(entry.task)
        if seen is None or seen.status is not TaskStatus.QUEUED:
            return  # not a task that has just been taken: it was run before, or somebody has decided otherwise
        leaving = self._departure.mode is not None
        fate = Fate.REQUEUE if leaving else Fate(self._agent.on_start_failure)
        settle(self._client.tasks, self._job(entry), fate, f"the agent could not start it: {why}")

    # runners that end

    def _adopt(self) -> None:
        """Take over what an earlier daemon of the same worker id has left."""
        for job, folder in list(self._runners.folders()):
            if job.owner_id != self._registration.worker_id:
                continue
            if self._claim_record.is_of(job.claim_id):
                self._claim_record.settled()  # the daemon that wrote the job died before it could
            duty = Duty.of(job, folder)
            if duty is not None:
                self._settling.owe(duty)
            elif self._runners.take_up(job, folder) is not None:
                log.info("adopted task %s (run %s)", job.task_id, job.run_id)
        threading.Thread(target=sweep_leftovers, args=(self._runs,), name="sweep", daemon=True).start()
        if self._options.engine:
            containers.reap_in_background(self._options.engine, self._runs)

    def _work(self) -> None:
        backoff = Backoff()
        began_to_leave = None
        while True:
            try:
                for run in self._runners.reap(None if self._departure.mode is None else _LOOK_WHILE_LEAVING):
                    try:
                        self._settle(run)
                    finally:
                        self._runners.settled(run)
                backoff.worked()
            except Exception as error:
                self._on_bug(error)
                log.exception("internal error")
                time.sleep(backoff.failed())
            if self._bug is not None and self._agent.crash_on_exception:
                raise self._bug
            if self._departure.mode is not None:
                began_to_leave = began_to_leave or time.monotonic()
                if self._is_over(time.monotonic() - began_to_leave):
                    return

    def _is_over(self, seconds: float) -> bool:
        """Go on with the end; whether it is reached. ``seconds``: since it was asked for."""
        mode = self._departure.mode
        if mode is StopMode.NOW or self._polls_are_held:
            self._client.interrupt()  # again and again: the poll may just be about to begin
        patience = _POLL_PATIENCE_NOW if mode is StopMode.NOW else _POLL_PATIENCE
        quiet = self._claims.stop(0.0) or seconds > patience
        own = self._runners.own
        self._departure.press(own)
        return quiet and not self._ending and not self._departure.to_wait_for(own)

    def _settle(self, run: ActiveRun) -> None:
        """Close the account of a runner that ended. One that died gets a successor, and that one none."""
        job, journal = run.job, run.journal
        if journal.state is State.DONE:
            self._ended(run, journal)
        elif run.folder.held:
            if not run.foreign:  # it found the folder in the hands of another runner
                self._runners.take_up(job, run.folder)
        elif journal.state is State.FINISHING and self._departure.mode in {StopMode.STOP, StopMode.NOW}:
            self._departure.note(job.task_id, "ended; the server is told at the next start of an agent")
        elif not run.successor:
            log.error("the runner of task %s died (%s); starting another to end the task", job.task_id, run.last_words)
            self._runners.restart(run)
        elif journal.state is State.FINISHING:  # how it ended is known, and has only to be told
            log.error("the runner of task %s died (%s); another tries in a while", job.task_id, run.last_words)
            self._runners.restart(run, _DELIVER_AGAIN)
        else:
            self._give_up_run(run, journal.state)

    def _ended(self, run: ActiveRun, journal: Journal) -> None:
        task_id, outcome = run.job.task_id, Outcome.from_record(journal.facts.get("outcome"))
        log.info("task %s: %s", task_id, summary(outcome))
        self._tally.ended(run.folder, outcome)
        self._departure.note(task_id, fate_of(journal))
        if outcome is not None and outcome.cause is Cause.START_REFUSED:
            log.warning("task %s could not be started; no task is taken for %.0f s", task_id, self._hold.failed())
        elif outcome is None or outcome.cause is not Cause.NOT_STARTED:
            self._hold.worked()
        self._runners.discard(run.folder)

    def _give_up_run(self, run: ActiveRun, state: State) -> None:
        """The second runner has died: end what still runs, and see to it that the server learns of it."""
        job, words = run.job, run.last_words or "it died without a word"
        if state is State.CLAIMED:
            fate, reason = Fate(self._agent.on_start_failure), f"the agent could not start it: {words}"
            self._hold.failed()
        else:
            fate, reason = Fate.FAIL, f"runner lost: {words}"
        log.error("task %s: %s", job.task_id, reason)
        self._departure.note(job.task_id, reason)
        self._ending.add(job.run_id)

        def end() -> None:
            end_all(lambda: members(job.run_id), self._agent.abort_grace_sec)
            place = Place(run.folder.path, job.run_id)
            left = clear(place) if not job.engine else containers.clear(job, place)
            if left:
                log.error("task %s: processes %s did not end even when killed", job.task_id, left)
            self._settling.owe(Duty(job, run.folder, fate, reason))
            self._ending.discard(job.run_id)
            self._runners.wake()
            self._changed()

        threading.Thread(target=end, name="end", daemon=True).start()

    # the rest

    def _state(self, running: int) -> AgentState:
        if self._departure.mode is not None:
            return AgentState.DRAINING if self._departure.mode is StopMode.DRAIN else AgentState.STOPPING
        return AgentState.WORKING if running else AgentState.IDLE

    def _doing(self) -> Doing:
        active = self._runners.own
        if self._options.services or not active:
            return Doing()
        return Doing(active[0].job.task_id, active[0].job.queue_id)

    def _changed(self) -> None:
        self._claims.wake()
        self._heartbeat.wake()

    def _on_bug(self, error: Exception) -> None:
        self._bug = error
        self._runners.wake()

    def _leave(self) -> None:
        self._departure.farewell(self._runners.own)
        for thread in self._threads:
            thread.stop(0.0)
        deadline = time.monotonic() + 2.0
        for thread in self._threads:
            thread.stop(max(0.0, deadline - time.monotonic()))
        if self._claims.stop(0.0):
            self._claim_loop.leave()
        try:
            self._client.workers.unregister(
                self._registration.worker_id, self._listening.ids, retry=ONCE, timeout=GOODBYE
            )
        except AgentError as error:
            log.warning("unregister: %s", error)
        log.info("Leaving process id %d", os.getpid())
        self._registration.release()
