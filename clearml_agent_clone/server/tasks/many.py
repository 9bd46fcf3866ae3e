"""The ``*_many`` endpoints: one call, many tasks, each with an outcome of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call


def each_of(call: Call, body: fields.Body, one: Callable[[Call, str, fields.Body], dict[str, Any]]) -> dict[str, Any]:
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
