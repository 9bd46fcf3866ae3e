"""How times, sizes and other values look on a page."""

from __future__ import annotations

import datetime as dt
from typing import Any

from clearml_agent_clone.server.fields import parse_stamp
from clearml_agent_clone.server.web.html import Html, html

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def moment(stamp: object) -> Html | str:
    """A date of the API to the second, in UTC; empty when there is none."""
    found = parse_stamp(stamp) if isinstance(stamp, str) and stamp else None
    if found is None:
        return ""
    shown = found.astimezone(dt.timezone.utc)
    return html('<time datetime="{iso}">{text} UTC</time>', iso=shown.isoformat(), text=f"{shown:%Y-%m-%d %H:%M:%S}")


def duration(seconds: object) -> str:
    """A span such as ``1 h 02 min``; empty when it is not known."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        return ""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(count: object) -> str:
    """A number of bytes; empty when it is not known."""
    if not isinstance(count, int | float) or isinstance(count, bool):
        return ""
    value = float(count)
    for unit in _UNITS[:-1]:
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {_UNITS[-1]}"


def status_text(document: dict[str, Any]) -> Html:
    """A task's status in its colour."""
    status = str(document.get("status", "unknown"))
    known = status if status.replace("_", "").isalpha() else "unknown"
    return html('<span class="status {known}">{text}</span>', known=known, text=status.replace("_", " "))


def number(value: object) -> str:
    """A number as short as it is still telling; anything else as it is written."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def part(document: object, *path: str) -> Any:
    """What stands at ``path`` in a document of unknown shape, or None."""
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def members(document: object, *path: str) -> list[dict[str, Any]]:
    """The objects in the list, or in the values of the object, that stands at ``path``."""
    found = part(document, *path)
    inside = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return [item for item in inside if isinstance(item, dict)]
