"""What the server does on its own account, outside any request."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator

from clearml_agent_clone.server.registry import NEWEST, Call
from clearml_agent_clone.server.state import ServerState


@contextlib.contextmanager
def errand(state: ServerState, now: dt.datetime) -> Iterator[Call]:
    """A ``Call`` by the owner in a writing transaction; what was left with ``after_commit`` follows its end."""
    later: list[Callable[[], None]] = []
    with state.db.write() as db:
        yield Call(
            state=state,
            user=state.auth.owner,
            worker="",
            now=now,
            version=NEWEST,
            requested=NEWEST,
            db=db,
            later=later,
        )
    for callback in later:
        callback()
