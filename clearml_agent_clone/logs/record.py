"""The shipper's memory beside the spool: how far the console was delivered."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.logs.reader import Place
from clearml_agent_clone.util.files import read_json, write_json

RECORD_NAME = "console.shipped"
LOCK_NAME = "console.lock"
_VERSION = 1
_SINCE_EVER = frozenset({"place", "stamp", "remarks", "lines", "lost_bytes"})


@attrs.frozen
class Mark:
    """What has been delivered so far.

    Attributes:
        place: where the next event begins.
        stamp: timestamp of the last event in milliseconds; the next one is later.
        remarks: how many of the agent's remarks were delivered.
        lines: lines the server has taken.
        lost_bytes: bytes of the console that the server refused for good.
        lost_lines: lines of these, a last one without its end too.
        dropped_bytes: bytes that were given up while the server was away, to keep the disk from filling up.
        dropped_lines: lines of these.
    """

    place: Place = attrs.Factory(Place)
    stamp: int = 0
    remarks: int = 0
    lines: int = 0
    lost_bytes: int = 0
    lost_lines: int = 0
    dropped_bytes: int = 0
    dropped_lines: int = 0


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


def claim_record(folder: Path) -> int:
    """Keep other processes from shipping the console in ``folder``; returns a descriptor that holds the claim.

    The lock is the process's: it ends with it, and children do not have it.

    Raises:
        Fatal: another process ships it (``console-taken``).
    """
    fd = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise Fatal(f"another process ships the console in {folder}", code="console-taken") from None
    return fd


def _mark(data: dict[str, Any]) -> Mark:
    """The mark in ``data``, which must be whole: half a record would skip lines. What older agents left out may lack."""
    names = set(data)
    if not (
        set(data["place"]) == set(attrs.fields_dict(Place)) and _SINCE_EVER <= names <= set(attrs.fields_dict(Mark))
    ):
        raise ValueError("not a mark")
    return Mark(**{**data, "place": Place(**data["place"])})
