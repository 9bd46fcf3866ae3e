"""events.add and events.add_batch: what a task reports about itself."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server.events.metrics import add_to_summary, highest_iteration
from clearml_agent_clone.server.events.owners import collection, locked
from clearml_agent_clone.server.events.parse import Parsed, add_event, parse_lines
from clearml_agent_clone.server.events.store import SCALAR, PointRow, add_logs, add_points
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.fields import stamp
from clearml_agent_clone.server.registry import Call, endpoint


@endpoint("events.add", writes=True)
def add(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    parsed = Parsed()
    add_event(parsed, body, worker=call.worker, now=_now(call))
    return _take_in(call, parsed)


@endpoint("events.add_batch", writes=True)
def add_batch(call: Call, _body: dict[str, Any]) -> dict[str, Any]:
    if not call.lines:
        raise ApiFault(400, 17, "Batch contains no items")
    return _take_in(call, parse_lines(call.lines, worker=call.worker, now=_now(call)))


def _take_in(call: Call, parsed: Parsed) -> dict[str, Any]:
    added = 0
    for owner in parsed.owners:
        owners = collection(models=owner.is_model)
        logs, points = parsed.logs.get(owner, []), parsed.points.get(owner, [])
        found = owners.find(call.db, owner.id, "last_metrics" if points else "id")
        if found is None or (locked(found) and not owner.even_locked):
            parsed.refuse(owner, f"Invalid {owners.kind} id {owner.id}")
            continue
        add_logs(call.db, logs)
        add_points(call.db, points)
        owners.patch(call.db, owner.id, _changes(found, points, stamp(call.now)))
        added += len(logs) + len(points)
    if not added:
        raise ApiFault(400, 131, f"Events not added: {', '.join(f'{why}={n}' for why, n in parsed.errors.items())}")
    return {"added": added, "errors": parsed.errors.total(), "errors_info": dict(parsed.errors)}


def _changes(owner: dict[str, Any], points: list[PointRow], now: str) -> dict[str, Any]:
    changes: dict[str, Any] = {"last_update": now, "last_change": now}
    scalars = [row for row in points if row.type == SCALAR]
    if scalars:
        changes["last_metrics"] = add_to_summary(owner.get("last_metrics") or {}, scalars)
    reached = highest_iteration(points)
    if reached is not None and reached > owner.get("last_iteration", -1):
        changes["last_iteration"] = reached
    return changes


def _now(call: Call) -> int:
    return int(call.now.timestamp() * 1000)
