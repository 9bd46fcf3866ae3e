"""The errors a client is meant to see, with the codes it already knows."""

from __future__ import annotations

from typing import Any


class ApiFault(Exception):  # noqa: N818 - it is an answer, not a failure of the server
    """An answer other than 200: becomes the envelope's ``result_code``, ``result_subcode`` and ``result_msg``.

    Args:
        code: the HTTP status, which the envelope repeats.
        subcode: the number that tells this cause from others with the same status.
        msg: one line for people.
        data: goes to ``meta.error_data``.
    """

    def __init__(self, code: int, subcode: int, msg: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(msg)
        self.code = code
        self.subcode = subcode
        self.msg = msg
        self.data = data or {}


def invalid(field: str, why: str) -> ApiFault:
    """A field of the request has the wrong type or value, or is missing."""
    return ApiFault(400, 12, f"Validation error (error for field '{field}'. {why})", {"field": field})


def unknown_field(name: str) -> ApiFault:
    """A projection, order or filter names a field that such objects do not have."""
    return ApiFault(400, 14, f"Invalid fields: {name}", {"field": name})


def refused_value(why: str) -> ApiFault:
    """A value is of the right type but may not be stored."""
    return ApiFault(400, 800, f"Data validation error ({why})")


def no_such(kind: str, subcode: int, key: str) -> ApiFault:
    """No object of that ``kind`` has the id ``key``."""
    return ApiFault(400, subcode, f"Invalid {kind} id: id={key}")


def no_such_task(key: str) -> ApiFault:
    return no_such("task", 101, key)


def no_such_model(key: str) -> ApiFault:
    return no_such("model", 201, key)


def no_such_project(key: str) -> ApiFault:
    return no_such("project", 401, key)


def no_such_queue(key: str) -> ApiFault:
    return no_such("queue", 701, key)
