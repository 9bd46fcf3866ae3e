"""Whose events they are: tasks and models, whether they exist and may still be written to."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import attrs

from clearml_agent_clone.server.documents import MODELS, TASKS
from clearml_agent_clone.server.store import Collection, Document

_LOCKED = frozenset({"published", "publishing"})


@attrs.frozen
class OwningTask:
    """A task as far as its events are concerned with it."""

    id: str
    name: str
    status: str


def collection(*, models: bool) -> Collection:
    """Where the owners are kept."""
    return MODELS if models else TASKS


def require(db: sqlite3.Connection, ids: Iterable[str], *, models: bool = False) -> dict[str, str]:
    """The names of tasks (or models) by id. Raises ``ApiFault`` 400/101 (400/201) for one that does not exist."""
    return {one: str(collection(models=models).get(db, one, "id").get("name", "")) for one in ids}


def require_task(db: sqlite3.Connection, task: str) -> OwningTask:
    """A task. Raises ``ApiFault`` 400/101."""
    document: dict[str, Any] = TASKS.get(db, task, "id")
    return OwningTask(task, str(document.get("name", "")), str(document.get("status", "")))


def require_open(db: sqlite3.Connection, owner: str, *, models: bool = False, even_locked: bool = False) -> None:
    """See that ``owner`` exists and is not published. Raises ``ApiFault`` 400/101 (400/201)."""
    found = collection(models=models).get(db, owner, "id")
    if locked(found) and not even_locked:
        raise collection(models=models).missing(owner)


def locked(document: Document) -> bool:
    """Whether a task or model is published, so that its results stay as they are."""
    return document.get("status") in _LOCKED or document.get("ready") is True
