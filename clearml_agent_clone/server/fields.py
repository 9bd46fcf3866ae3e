"""Read the fields of a request body, each with its type. A JSON null counts as absent.

A wrong type or a missing required field is ``ApiFault`` 400/12.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.server.faults import invalid

Body = Mapping[str, Any]

_LARGEST_EPOCH = 1e11
_LARGEST_INTEGER = 2**53  # what every JSON reader and the database can hold, with room to calculate


def required(body: Body, name: str) -> str:
    """A text that must be there and not be empty."""
    value = text(body, name)
    if not value:
        raise invalid(name, "Field is required")
    return value


def text(body: Body, name: str, default: str = "") -> str:
    """A text; a number is taken as its text, as query arguments are converted before they come here."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise invalid(name, "Value is not a string")


def flag(body: Body, name: str, *, default: bool = False) -> bool:
    """A boolean; 0 and 1 are accepted."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or value in (0, 1):
        return bool(value)
    raise invalid(name, "Value is not a boolean")


def integer(body: Body, name: str, default: int = 0) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise invalid(name, "Value is not an integer")
    try:
        found = int(value)
    except (ValueError, OverflowError):
        raise invalid(name, "Value is not an integer") from None
    if abs(found) > _LARGEST_INTEGER:
        raise invalid(name, "Value is too large")
    return found


def number(body: Body, name: str, default: float = 0.0) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise invalid(name, "Value is not a number")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise invalid(name, "Value is not a number") from None
    if not math.isfinite(found):
        raise invalid(name, "Value is not a finite number")
    return found


def texts(body: Body, name: str) -> list[str]:
    """A list of texts; a single text is a list of one. Nulls inside are kept out."""
    value = body.get(name)
    if value is None:
        return []
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list) or not all(item is None or isinstance(item, str | int | float) for item in value):
        raise invalid(name, "Value is not a list of strings")
    return [str(item) for item in value if item is not None]


def items(body: Body, name: str) -> list[dict[str, Any]]:
    """A list of objects."""
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid(name, "Value is not a list of objects")
    return value


def mapping(body: Body, name: str) -> dict[str, Any]:
    """An object."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, "Value is not an object")
    return value


def as_json(value: Any) -> str:
    """``value`` as JSON text, for lists that are bound in SQL."""
    return json.dumps(value, separators=(",", ":"))


def from_json_list(text: str | None) -> list[str]:
    """The list in a JSON text that we have written ourselves; no text is an empty list."""
    found: list[str] = json.loads(text) if text else []
    return found


def stamp(moment: dt.datetime) -> str:
    """``moment`` as the API writes and the database stores dates: UTC, cut to milliseconds, six digits.

    All stamps have this one shape, so that they sort as text.
    """
    cut = moment.astimezone(dt.timezone.utc).replace(microsecond=moment.microsecond // 1000 * 1000)
    return cut.isoformat(timespec="microseconds")


def parse_stamp(value: str) -> dt.datetime | None:
    """The moment that an ISO 8601 text names (UTC when it names no zone), or None."""
    try:
        moment = dt.datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=dt.timezone.utc)


def from_epoch(seconds: float) -> dt.datetime:
    """The moment ``seconds`` after the epoch; a number too large for seconds is taken as milliseconds."""
    if seconds > _LARGEST_EPOCH:
        seconds /= 1000
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
