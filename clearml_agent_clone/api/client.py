"""Typed calls, by service."""

from __future__ import annotations

from typing import final

from clearml_agent_clone.api.access import Retry
from clearml_agent_clone.api.calls_events import Events
from clearml_agent_clone.api.calls_queues import Queues
from clearml_agent_clone.api.calls_tasks import Tasks
from clearml_agent_clone.api.calls_workers import Workers
from clearml_agent_clone.api.session import ServerInfo, Session

__all__ = ["Client"]


@final
class Client:
    """The calls that an agent makes, as methods of ``tasks``, ``queues``, ``workers`` and ``events``.

    Each raises what ``Session.call`` raises; what else it may raise is said where it is defined.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.tasks = Tasks(session)
        self.queues = Queues(session)
        self.workers = Workers(session)
        self.events = Events(session)

    @property
    def server(self) -> ServerInfo:
        """What the server told about itself; see ``Session.server``."""
        return self.session.server

    def login(self, *, retry: Retry | None = None) -> ServerInfo:
        """Log in now; see ``Session.login``."""
        return self.session.login(retry=retry)

    def interrupt(self) -> None:
        """Give up the waiting calls; see ``Session.interrupt``."""
        self.session.interrupt()

    def close(self) -> None:
        self.session.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
