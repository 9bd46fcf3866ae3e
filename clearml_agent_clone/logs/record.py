"""The shipper's memory beside the spool: how far the console was delivered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.logs.reader import Place
from clearml_agent_clone.util.files import read_json, write_json

RECORD_NAME = "console.shipped"
_VERSION = 1


@attrs.frozen
class Mark:
    """What has been delivered so far.

    Attributes:
        place: where the next event begins.
        stamp: timestamp of the last event in milliseconds; the next one is later.
        remarks: how many of the agent's remarks were delivered.
        lines: lines the server has taken.
        lost_bytes: bytes of the console that the server refused for good.
    """

    place: Place = attrs.Factory(Place)
    stamp: int = 0
    remarks: int = 0
    lines: int = 0
    lost_bytes: int = 0


@attrs.frozen
class Record:
    """``done`` is certain; ``sending`` will be true if the request that was under way has reached the server."""

    done: Mark = attrs.Factory(Mark)
    sending: Mark | None = None


def load_record(folder: Path) -> Record:
    """The record in ``folder``; a fresh one when there is none or it cannot be understood.

    Then the console is sent from its beginning: lines that come twice are better than lines that never come.
    """
    data = read_json(folder / RECORD_NAME)
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        return Record()
    try:
        return Record(_mark(data["done"]), _mark(data["sending"]) if data.get("sending") else None)
    except (KeyError, TypeError, ValueError):
        return Record()


def save_record(folder: Path, record: Record, *, durable: bool = False) -> None:
    """Replace the record in one step.

    Args:
        folder: where the record stands.
        record: what to write.
        durable: also survive a power cut. Not worth its price for every request: the spool, which is written by the
            user's process, would not survive it either.

    Raises:
        Retryable: the disk is full.
        UserError: the folder cannot be written.
    """
    write_json(folder / RECORD_NAME, {"version": _VERSION, **attrs.asdict(record)}, durable=durable)


def _mark(data: dict[str, Any]) -> Mark:
    """The mark in ``data``, which must be whole: half a record would skip lines."""
    place, mark = data["place"], data
    if not (set(place) == set(attrs.fields_dict(Place)) and set(mark) == set(attrs.fields_dict(Mark))):
        raise ValueError("not a mark")
    return Mark(**{**mark, "place": Place(**place)})
