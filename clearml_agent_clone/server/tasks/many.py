"""The ``*_many`` endpoints: one call, many tasks, each with an outcome of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call, endpoint

Action = Callable[[Call, str, fields.Body], dict[str, Any]]


def register_many(service: str, since: str, actions: Mapping[str, Action]) -> None:
    """Register an endpoint per name in ``actions`` that does the action to every id it is given."""
    for name, one in actions.items():
        endpoint(f"{service}.{name}", since=since, writes=True)(functools.partial(each_of, one))


def each_of(one: Action, call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """Do ``one`` to every id in ``ids``; who fails is told, and the others are not held up."""
    succeeded: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    shared: dict[str, Any] = {}
    for key in fields.texts(body, "ids"):
        call.db.execute("SAVEPOINT one")
        try:
            outcome = one(call, key, body)
        except ApiFault as fault:
            call.db.execute("ROLLBACK TO one")
            error = {"codes": [fault.code, fault.subcode], "msg": fault.msg, "data": fault.data}
            failed.append({"id": key, "error": error})
            continue
        finally:
            call.db.execute("RELEASE one")
        if "queue_watched" in outcome:
            shared["queue_watched"] = outcome.pop("queue_watched")
        succeeded.append({"id": key, **outcome})
    return {"succeeded": succeeded, "failed": failed, **shared}
