"""A survey as JSON (a schema that only grows, see docs/operation.md) and as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from clearml_agent_clone.worker.sight.runs import RunView
from clearml_agent_clone.worker.sight.snapshot import DaemonSnapshot, LoopView
from clearml_agent_clone.worker.sight.survey import AgentStatus, Survey

FORMAT = 1


def to_json(survey: Survey) -> dict[str, Any]:
    """The object that ``status --json`` prints."""
    return {
        "format": FORMAT,
        "healthy": survey.healthy,
        "time": survey.now,
        "state_dir": str(survey.state_dir),
        "disk": None if survey.disk is None else attrs.asdict(survey.disk),
        "problems": list(survey.problems),
        "agents": [_agent(agent, survey.now) for agent in survey.agents],
        "by_hand": [_task(run, survey.now, {}) for run in survey.by_hand],
    }


def to_text(survey: Survey) -> str:
    """The lines that ``status`` prints."""
    return "".join(f"{line}\n" for line in _lines(survey))


def _agent(agent: AgentStatus, now: float) -> dict[str, Any]:
    told = agent.snapshot
    return {
        "worker_id": agent.worker_id,
        "state": agent.state.value,
        "healthy": not agent.problems,
        "problems": list(agent.problems),
        "answers": told is not None,
        "pid": agent.pid,
        "version": agent.version or None,
        "started_at": agent.started_at,
        "uptime_seconds": None if agent.started_at is None else round(max(0.0, now - agent.started_at), 1),
        "queues": list(agent.queues),
        "capacity": told.capacity if told else None,
        "free_slots": told.free if told else None,
        "loops": [{**attrs.asdict(loop), "healthy": loop.healthy} for loop in told.loops] if told else [],
        "server": {**attrs.asdict(told.server), "reachable": told.server.reachable} if told else None,
        "claim": None if agent.claim is None else attrs.asdict(agent.claim),
        "tasks": [_task(run, now, _queue_names(told)) for run in agent.tasks],
        "finished": dict(told.finished.outcomes) if told else {},
    }


def _task(run: RunView, now: float, queues: dict[str, str]) -> dict[str, Any]:
    return {
        "task_id": run.task_id,
        "run_id": run.run_id,
        "worker_id": run.worker_id,
        "state": run.state.value,
        "since": run.since,
        "seconds": round(max(0.0, now - run.since), 1),
        "queue_id": run.queue_id or None,
        "queue": queues.get(run.queue_id),
        "gpus": run.gpus,
        "runner_pid": run.runner_pid,
        "pid": run.pid,
        "console": attrs.asdict(run.console),
    }


def _queue_names(told: DaemonSnapshot | None) -> dict[str, str]:
    return {queue.id: queue.name for queue in told.queues} if told else {}


def _lines(survey: Survey) -> Iterator[str]:
    room = "" if survey.disk is None else f" ({size(survey.disk.free_bytes)} free)"
    yield f"State folder {survey.state_dir}{room}"
    yield from (f"  ! {problem}" for problem in survey.problems)
    if not survey.agents:
        yield "No agent is running here, and none has left a task."
    for agent in survey.agents:
        yield ""
        yield from _agent_lines(agent, survey.now)
    if survey.by_hand:
        yield ""
        yield "Executed by hand"
        for run in survey.by_hand:
            yield from _task_lines(run, survey.now, {})


def _agent_lines(agent: AgentStatus, now: float) -> Iterator[str]:
    about = [agent.state.value]
    if agent.running and agent.snapshot is None:
        about = ["does not answer"]
    if agent.pid is not None:
        about.append(f"pid {agent.pid}")
    if agent.started_at is not None:
        about.append(f"up {span(now - agent.started_at)}")
    if agent.version:
        about.append(f"version {agent.version}")
    yield f"{agent.worker_id}: {', '.join(about)}"
    yield from (f"  ! {problem}" for problem in agent.problems)
    if agent.queues:
        yield f"  queues    {', '.join(agent.queues)}"
    if agent.snapshot is not None:
        yield from _snapshot_lines(agent.snapshot, now)
    if agent.claim is not None:
        yield f"  claim     {agent.claim.id} since {span(now - agent.claim.since)}"
    if agent.tasks:
        yield "  tasks"
        for run in agent.tasks:
            yield from _task_lines(run, now, _queue_names(agent.snapshot))


def _snapshot_lines(told: DaemonSnapshot, now: float) -> Iterator[str]:
    slots = "no limit" if told.capacity is None else f"{told.free} of {told.capacity} free"
    yield f"  slots     {slots}"
    yield f"  server    {told.server.address}, {_server(told, now)}"
    yield f"  loops     {', '.join(map(_loop, told.loops))}"
    if told.finished.outcomes:
        counts = (f"{count} {outcome}" for outcome, count in sorted(told.finished.outcomes.items()))
        yield f"  finished  {', '.join(counts)}"


def _server(told: DaemonSnapshot, now: float) -> str:
    server = told.server
    if server.reachable is None:
        return "not asked yet"
    last = "never answered" if server.last_success_at is None else f"answered {span(now - server.last_success_at)} ago"
    return last if server.reachable else f"does not answer ({last}): {server.last_error}"


def _loop(loop: LoopView) -> str:
    """Late ones are marked; the error is there while it lasts."""
    last = "not yet" if loop.seconds_since_success is None else f"{span(loop.seconds_since_success)} ago"
    return f"{loop.name} {last}{f' (failing: {loop.last_error})' if loop.last_error else ''}"


def _task_lines(run: RunView, now: float, queues: dict[str, str]) -> Iterator[str]:
    parts = [f"{run.state.value} for {span(now - run.since)}"]
    if run.queue_id:
        parts.append(f"queue {queues.get(run.queue_id) or run.queue_id}")
    if run.gpus is not None:
        parts.append(f"GPUs {run.gpus or 'none'}")
    if run.pid is not None:
        parts.append(f"pid {run.pid}")
    if run.runner_pid is None:
        parts.append("no runner")
    console = run.console
    parts.append(f"console {size(console.written_bytes)}, {size(console.backlog_bytes)} to deliver")
    if console.lost_bytes:
        parts.append(f"{size(console.lost_bytes)} lost")
    yield f"    {run.task_id}  {', '.join(parts)}"
    yield f"      run {run.run_id}"


def size(count: float) -> str:
    """A number of bytes, short."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def span(seconds: float) -> str:
    """A duration, in its two largest units."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{whole} s"
