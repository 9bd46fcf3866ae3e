"""Ask the server whether a console event reached it, after its answer was lost or we were interrupted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_ANSWER = 10
_NEWEST = 500


def arrived_by(call: Callable[..., Mapping[str, Any]], task_id: str) -> Callable[[int], bool]:
    """The ``arrived`` of a ``Shipper``.

    Args:
        call: ``Session.call``. It is told to try once: the shipper has patience of its own.
        task_id: the task whose console it is.

    Returns:
        A function that tells whether the server has a log event of the task with a timestamp (milliseconds). Nothing
        else tells events apart, but the shipper uses every timestamp once; the SDK in a task that an agent runs
        leaves the console to the agent.
    """
    from clearml_agent_clone.api.access import ONCE  # noqa: PLC0415 - not all who redact speak HTTP

    def ask(**how: Any) -> list[int | None]:
        events = call("events.get_task_log", {"task": task_id, **how}, retry=ONCE).get("events") or ()
        return [_stamp_of(event) for event in events]

    def arrived(stamp: int) -> bool:
        found = ask(from_timestamp=stamp - 1, navigate_earlier=False, order="asc", batch_size=_ANSWER)
        if any(other is not None and other < stamp for other in found):  # a server that knows no from_timestamp
            found = ask(order="desc", batch_size=_NEWEST)
        return stamp in found

    return arrived


def _stamp_of(event: Mapping[str, Any]) -> int | None:
    try:
        return int(float(event["timestamp"]))
    except (KeyError, TypeError, ValueError):
        return None
