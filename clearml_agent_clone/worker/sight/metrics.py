"""A snapshot as Prometheus text (exposition format 0.0.4). docs/operation.md lists the metrics."""

from __future__ import annotations

import math
import os
import resource
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import attrs

from clearml_agent_clone.worker.sight.runs import RunView
from clearml_agent_clone.worker.sight.snapshot import AgentState, DaemonSnapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PREFIX = "clearml_agent_"


@attrs.frozen
class Sample:
    """One value with its labels."""

    value: float
    labels: Mapping[str, str] = attrs.Factory(dict)


@attrs.frozen
class Family:
    """A metric: ``kind`` is ``gauge`` or ``counter``. Without samples it is left out."""

    name: str
    kind: str
    text: str
    samples: tuple[Sample, ...]

    def lines(self) -> Iterable[str]:
        if not self.samples:
            return
        yield f"# HELP {self.name} {_escape(self.text, quotes=False)}"
        yield f"# TYPE {self.name} {self.kind}"
        for sample in self.samples:
            labels = ",".join(f'{name}="{_escape(value)}"' for name, value in sample.labels.items())
            yield f"{self.name}{f'{{{labels}}}' if labels else ''} {_number(sample.value)}"


def render(snapshot: DaemonSnapshot, runs: Sequence[RunView], state_dir: Path) -> str:
    """The page ``/metrics``."""
    families = [*_worker(snapshot), *_loops(snapshot), *_tasks(snapshot, runs), *_server(snapshot)]
    families += [*_process(), *_disk(state_dir)]
    return "".join(f"{line}\n" for family in families for line in family.lines())


def _worker(snapshot: DaemonSnapshot) -> Iterable[Family]:
    about = {"worker": snapshot.worker_id, "version": snapshot.version, "pid": str(snapshot.pid)}
    yield _gauge("info", "The agent's worker id and version; always 1", Sample(1, about))
    yield _gauge("start_time_seconds", "When the agent was started, Unix time", Sample(snapshot.started_at))
    states = (state for state in AgentState if state is not AgentState.NOT_RUNNING)
    yield _gauge(
        "state",
        "1 for what the agent is doing, 0 for all else",
        *(Sample(snapshot.state is state, {"state": state.value}) for state in states),
    )


def _loops(snapshot: DaemonSnapshot) -> Iterable[Family]:
    loops = [(loop, {"loop": loop.name}) for loop in snapshot.loops]
    yield _gauge(
        "loop_last_success_age_seconds",
        "Seconds since a loop last worked; loops have intervals of their own",
        *(Sample(loop.seconds_since_success, of) for loop, of in loops if loop.seconds_since_success is not None),
    )
    yield _gauge(
        "loop_late_seconds",
        "Seconds since a loop should have worked again; 0 when it is on time",
        *(Sample(loop.late_seconds, of) for loop, of in loops),
    )
    yield _gauge(
        "loop_healthy", "0 when /healthz is red because of it", *(Sample(loop.healthy, of) for loop, of in loops)
    )
    yield _counter(
        "loop_errors_total", "Steps of a loop that went wrong", *(Sample(loop.errors, of) for loop, of in loops)
    )


def _tasks(snapshot: DaemonSnapshot, runs: Sequence[RunView]) -> Iterable[Family]:
    finished, consoles = snapshot.finished, [run.console for run in runs]
    lost = finished.lost_bytes + sum(console.lost_bytes for console in consoles)
    yield _gauge("tasks_running", "Tasks that the agent has in hand", Sample(snapshot.running))
    yield _gauge("slots", "Tasks that may run at once; +Inf without limit", Sample(_unlimited(snapshot.capacity)))
    yield _gauge("slots_free", "Tasks that may be taken now", Sample(_unlimited(snapshot.free)))
    yield _counter(
        "tasks_finished_total",
        "Tasks that came to their end, by what became of them",
        *(Sample(count, {"outcome": outcome}) for outcome, count in sorted(finished.outcomes.items())),
    )
    if finished.start_seconds is not None:
        yield _gauge(
            "task_start_seconds",
            "From the claim to the start of its process, of the task that ended last",
            Sample(finished.start_seconds),
        )
    yield _gauge(
        "console_backlog_bytes",
        "Bytes of running tasks' consoles that wait to be delivered",
        Sample(sum(console.backlog_bytes for console in consoles)),
    )
    yield _counter("console_lost_bytes_total", "Bytes of consoles that could not be delivered", Sample(lost))


def _server(snapshot: DaemonSnapshot) -> Iterable[Family]:
    server = snapshot.server
    if server.reachable is not None:
        yield _gauge("server_reachable", "Whether the server answered last time", Sample(server.reachable))
    if server.last_success_at is not None:
        yield _gauge(
            "server_last_success_timestamp_seconds",
            "When the server last answered, Unix time",
            Sample(server.last_success_at),
        )
    yield _counter(
        "api_requests_total",
        "Requests of the daemon to the server, by endpoint and result",
        *(
            Sample(count, {"endpoint": endpoint, "result": result})
            for (endpoint, result), count in sorted(snapshot.requests.items())
        ),
    )


def _process() -> Iterable[Family]:
    """Of the process that asks itself: names that dashboards know."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    yield Family(
        "process_cpu_seconds_total", "counter", "CPU time of the daemon", (Sample(used.ru_utime + used.ru_stime),)
    )
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        handles = len(os.listdir("/proc/self/fd")) - 1  # noqa: PTH208 - names only, and one of them is our look
    except OSError:  # no /proc here
        return
    yield Family(
        "process_resident_memory_bytes",
        "gauge",
        "Memory of the daemon",
        (Sample(pages * resource.getpagesize()),),
    )
    yield Family("process_open_fds", "gauge", "Open descriptors of the daemon", (Sample(handles),))


def _disk(state_dir: Path) -> Iterable[Family]:
    try:
        free = shutil.disk_usage(state_dir).free
    except OSError:
        return
    yield _gauge("state_disk_free_bytes", "Free space on the disk of the state folder", Sample(free))


def _gauge(name: str, text: str, *samples: Sample) -> Family:
    return Family(_PREFIX + name, "gauge", text, samples)


def _counter(name: str, text: str, *samples: Sample) -> Family:
    return Family(_PREFIX + name, "counter", text, samples)


def _unlimited(count: int | None) -> float:
    return math.inf if count is None else count


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(int(value)) if value == int(value) else repr(value)


def _escape(text: str, *, quotes: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text
