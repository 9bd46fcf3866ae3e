"""The daemon: puts the loops together, waits for runners to end, stops in the way it was asked to."""

from __future__ import annotations

import contextlib
import enum
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence

import attrs

from clearml_agent_clone import __version__
from clearml_agent_clone.api.access import ONCE
from clearml_agent_clone.api.client import Client
from clearml_agent_clone.api.types import Entry, Queue
from clearml_agent_clone.config import Settings
from clearml_agent_clone.errors import AgentError
from clearml_agent_clone.launch.gpus import GpuChoice
from clearml_agent_clone.launch.ending import end_all, members
from clearml_agent_clone.monitoring import Sampler
from clearml_agent_clone.runner.heartbeat import Doing, Heartbeat
from clearml_agent_clone.runner.job import Job, new_run_id
from clearml_agent_clone.runner.journal import State
from clearml_agent_clone.runner.outcome import Outcome
from clearml_agent_clone.util.files import read_json
from clearml_agent_clone.util.loops import LoopThread
from clearml_agent_clone.worker.claims import ClaimRecord, Claims, unix_time
from clearml_agent_clone.worker.nursery import Nursery
from clearml_agent_clone.worker.registry import Registration
from clearml_agent_clone.worker.runners import ActiveRun, Runners, sweep_leftovers
from clearml_agent_clone.worker.sight.snapshot import AgentState, DaemonSnapshot, LoopView, QueueName, ServerView
from clearml_agent_clone.worker.sight.tally import Tally

log = logging.getLogger(__name__)

UNLIMITED = 1_000_000
_INTERRUPTS = 100


class StopMode(enum.Enum):
    """How a daemon ends. DRAIN lets what runs finish, STOP ends it gracefully."""

    DRAIN = "drain"
    STOP = "stop"


@attrs.frozen
class DaemonOptions:
    """What the command line decided.

    ``capacity`` is how many tasks run at once; ``services`` gives each a worker id of its own.
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
        self._registration = registration
        self._stopping: StopMode | None = None
        self._started_at = time.time()
        self._tally = Tally()
        self._restarted: set[str] = set()
        self._grace = settings.agent.abort_grace_sec
        self._runs = settings.state_dir / "runs"
        self._runners = Runners(self._runs, nursery, self._changed, keep=options.keep_runs)
        queue_ids = [queue.id for queue in options.queues]
        self._claims = LoopThread(
            Claims(
                client.queues,
                queue_ids,
                ClaimRecord(registration.folder / "claim.json"),
                free=self._free,
                accept=self._accept,
                interval=options.polling_interval,
                fair=options.fair,
            )
        )
        self._heartbeat = LoopThread(
            Heartbeat(
                client.workers,
                registration.worker_id,
                queue_ids=queue_ids,
                doing=self._doing,
                take_stats=sampler.take,
                interval=options.report_interval,
                tags=options.tags,
            )
        )
        self._threads = (self._claims, self._heartbeat, LoopThread(sampler))

    def run(self, on_ready: Callable[[], None] = lambda: None) -> None:
        """Work until stopped; ``on_ready`` is called when the worker is registered."""
        queue_ids = [queue.id for queue in self._options.queues]
        worker_id = self._registration.worker_id
        self._client.workers.register(worker_id, queue_ids, tags=self._options.tags)
        self._registration.describe(tuple(queue.name for queue in self._options.queues))
        log.info(
            'worker "%s" listens to %s', worker_id, ", ".join(queue.name or queue.id for queue in self._options.queues)
        )
        on_ready()
        sweep_leftovers(self._runs)
        self._runners.adopt(worker_id)
        with self._signals():
            for thread in self._threads:
                thread.start()
            while self._stopping is None or self._runners.active:
                for run in self._runners.reap(None):
                    self._settle(run)
                if self._stopping is not None:
                    self._stop_claiming()
                if self._stopping is StopMode.STOP:
                    self._runners.stop()
        self._leave()

    def request_stop(self, mode: StopMode) -> None:
        """Ask for the end; asking for STOP after DRAIN turns one into the other. Safe in a signal handler."""
        if self._stopping is not StopMode.STOP:
            self._stopping = mode
        self._runners.wake()

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

    def _state(self, running: int) -> AgentState:
        if self._stopping is not None:
            return AgentState.DRAINING if self._stopping is StopMode.DRAIN else AgentState.STOPPING
        return AgentState.WORKING if running else AgentState.IDLE

    def _free(self) -> int:
        return 0 if self._stopping else self._options.capacity - len(self._runners.active)

    def _accept(self, entry: Entry) -> None:
        options, now = self._options, time.time()
        worker_id = self._registration.worker_id
        job = Job(
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
        )
        log.info("task %s taken from queue %s", entry.task, entry.queue)
        self._runners.start(job)

    def _settle(self, run: ActiveRun) -> None:
        """Close the account of a runner that ended. One that died gets a successor, and that one none."""
        job, journal = run.job, run.journal
        if journal.state is State.DONE:
            outcome = journal.facts.get("outcome")
            log.info("task %s: %s", job.task_id, _summary(outcome))
            self._tally.ended(run.folder, Outcome.from_record(outcome))
            self._runners.discard(run)
        elif job.run_id not in self._restarted:
            log.error("the runner of task %s died (%s); starting another to end the task", job.task_id, run.last_words)
            self._restarted.add(job.run_id)
            self._runners.restart(run)
        else:
            reason = f"runner lost: {run.last_words or 'it died without a word'}"
            log.error("task %s: %s", job.task_id, reason)
            end_all(lambda: members(job.run_id), self._grace)
            try:
                self._client.tasks.failed(job.task_id, reason=reason, force=True)
            except AgentError as error:
                log.error("task %s could not be set failed: %s", job.task_id, error)  # noqa: TRY400 - it says all
            else:
                self._runners.discard(run)

    def _doing(self) -> Doing:
        active = self._runners.active
        if self._options.services or not active:
            return Doing()
        return Doing(active[0].job.task_id, active[0].job.queue_id)

    def _changed(self) -> None:
        self._claims.wake()
        self._heartbeat.wake()

    def _stop_claiming(self) -> None:
        """Give up the poll that is under way; a task that it still brings is kept by its claim."""
        for _ in range(_INTERRUPTS):
            self._client.interrupt()  # again and again: the poll may just be about to begin
            if self._claims.stop(0.1):
                return

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def on_term(number: int, frame: object) -> None:
            del number, frame
            self.request_stop(self._asked_mode())

        def on_interrupt(number: int, frame: object) -> None:
            del number, frame
            self.request_stop(StopMode.STOP)

        # SIGHUP: the terminal may close; a daemon outlives it
        before = [
            (number, signal.signal(number, handler))
            for number, handler in ((signal.SIGTERM, on_term), (signal.SIGINT, on_interrupt), (signal.SIGHUP, _ignore))
        ]
        try:
            yield
        finally:
            for number, old in before:
                signal.signal(number, old)

    def _asked_mode(self) -> StopMode:
        """SIGTERM alone drains and the second one stops; ``--stop`` writes down what it wants before its signal."""
        record = read_json(self._registration.stop_file)
        if isinstance(record, dict) and record.get("mode") in {mode.value for mode in StopMode}:
            return StopMode(record["mode"])
        return StopMode.STOP if self._stopping else StopMode.DRAIN

    def _leave(self) -> None:
        for thread in self._threads:
            thread.stop(2.0)
        queue_ids: Sequence[str] = [queue.id for queue in self._options.queues]
        try:
            self._client.workers.unregister(self._registration.worker_id, queue_ids, retry=ONCE)
        except AgentError as error:
            log.warning("unregister: %s", error)
        log.info("Leaving process id %d", os.getpid())
        self._registration.release()


def _ignore(number: int, frame: object) -> None:
    del number, frame


def _summary(record: object) -> str:
    outcome = Outcome.from_record(record)
    if outcome is None:
        return "ended"
    code = "" if outcome.exit_code is None else f", exit code {outcome.exit_code}"
    return f"{outcome.cause.value}{code}{', ' + outcome.detail if outcome.detail else ''}"
