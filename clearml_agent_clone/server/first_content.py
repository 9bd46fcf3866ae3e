"""What a new data folder begins with."""

from __future__ import annotations

from clearml_agent_clone.server.errands import errand
from clearml_agent_clone.server.state import ServerState
from clearml_agent_clone.server.tasks.queueing import create_queue

_MARK = "has_first_content"


def first_content(state: ServerState) -> None:
    """Make the default queue, once: a user who deletes it does not get it back."""
    with errand(state, state.config.clock()) as call:
        if call.db.execute("INSERT OR IGNORE INTO settings VALUES (?, '1')", (_MARK,)).rowcount:
            create_queue(call, {"name": "default", "system_tags": ["default"]})
