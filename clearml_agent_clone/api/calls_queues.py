"""Calls of the ``queues`` service."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from clearml_agent_clone.api.access import ONCE, Retry, Timeout
from clearml_agent_clone.api.calls_tasks import LOOKS_LIKE_ID, pattern_of
from clearml_agent_clone.api.errors import InvalidRequest, NotFound
from clearml_agent_clone.api.put_back import waiting_in
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.api.types import Entry, Queue, text
from clearml_agent_clone.errors import UserError
from clearml_agent_clone.util.names import did_you_mean

WAIT = "queues.get_next_task.wait"
"""Extension: the server holds the call until a task comes."""

CLAIM = "queues.get_next_task.claim"
"""Extension: the server answers a call that is repeated with the same claim with the same task."""

_PAGE = 500
_FIELDS = ["id", "name", "tags"]
_ANSWER_MARGIN = 10.0


class Queues:
    """Finding queues, and taking tasks from them."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @property
    def waits(self) -> bool:
        """Whether the server holds ``next`` until a task comes, instead of answering at once."""
        return WAIT in self._session.server.extensions

    @property
    def remembers_claims(self) -> bool:
        """Whether the server answers the same claim with the same task, so that a lost answer is no lost task."""
        return CLAIM in self._session.server.extensions

    def resolve(self, name_or_id: str, *, create: bool = False) -> Queue:
        """The queue with this id, or else the only one with this name (upper and lower case alike).

        Args:
            name_or_id: 30 and more hexadecimal digits are looked up as an id first.
            create: make a queue of this name when there is none.

        Raises:
            NotFound: there is none; near names are suggested.
            UserError: several queues have this name.
        """
        wanted = name_or_id.strip()
        if LOOKS_LIKE_ID.fullmatch(wanted):
            by_id = self.all([wanted])
            if by_id:
                return by_id[0]
        similar = self._get_all({"name": pattern_of(wanted), "search_hidden": True}) if wanted else []
        found = [queue for queue in similar if queue.name.casefold() == wanted.casefold()]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(queue.id for queue in found)
            raise UserError(
                f'{len(found)} queues have the name "{wanted}": {ids}', remedy="Use an id", code="queue-ambiguous"
            )
        if create and wanted:
            return Queue(str(self._session.call("queues.create", {"name": wanted})["id"]), wanted)
        raise self._no_queue(wanted, similar)

    def default(self) -> Queue:
        """The server's default queue, or the one named ``default`` where the server has marked none, or several.

        Raises:
            NotFound: there is neither.
        """
        try:
            data = self._session.call("queues.get_default")
        except InvalidRequest:
            return self.resolve("default")
        return Queue(text(data.get("id")), text(data.get("name"))) if data.get("id") else self.resolve("default")

    def all(self, ids: Collection[str] | None = None) -> list[Queue]:
        """The queues with these ids in their order, without those that are gone; or all queues. Without entries."""
        if ids is None:
            return self._get_all({})
        if not ids:
            return []
        known = {queue.id: queue for queue in self._get_all({"id": list(ids)})}
        return [known[id_] for id_ in dict.fromkeys(ids) if id_ in known]

    def next(self, queue_ids: Sequence[str], *, wait: float = 0.0, claim: str = "") -> Entry | None:
        """Take the next task of the first queue that has one. It is sent once: who polls comes back anyway.

        Args:
            queue_ids: by priority.
            wait: seconds for which a server that can (``waits``) holds the call until a task comes.
            claim: an id of the caller's choosing. A server that can answers the same id with the same task, so that
                a task whose answer was lost is not.

        Returns:
            None when there is no task now, or none came while waiting.

        Raises:
            InvalidRequest: a queue is gone, and no other has a task now.
            Cancelled: the wait was interrupted.
        """
        if not queue_ids:
            return None
        extensions = self._session.server.extensions
        body = {"claim": claim} if claim and CLAIM in extensions else {}
        if WAIT not in extensions:
            return self._poll(queue_ids, body)
        return self._wait(queue_ids, wait, body)

    def waiting(self, queue_id: str, *, retry: Retry | None = None) -> list[str]:
        """The tasks that wait in a queue, the next first; none when it is gone."""
        return waiting_in(self._session, queue_id, retry)

    def _wait(self, queue_ids: Sequence[str], wait: float, body: Mapping[str, Any]) -> Entry | None:
        timeout = self._session.access.timeout
        data = self._session.call(
            "queues.get_next_task",
            {**body, "queue": queue_ids[0], "queues": list(queue_ids), "wait": wait},
            timeout=Timeout(timeout.connect, max(timeout.read, wait + _ANSWER_MARGIN)),
            retry=ONCE,
            repeatable="claim" in body,
            interruptible=True,
        )
        return Entry.from_wire(data.get("entry"), queue_ids[0])

    def _poll(self, queue_ids: Sequence[str], body: Mapping[str, Any]) -> Entry | None:
        missing: InvalidRequest | None = None
        for queue_id in queue_ids:
            try:
                data = self._session.call(
                    "queues.get_next_task",
                    {**body, "queue": queue_id},
                    retry=ONCE,
                    repeatable="claim" in body,
                    interruptible=True,
                )
            except InvalidRequest as error:
                missing = error  # a queue was deleted: the others still count
                continue
            entry = Entry.from_wire(data.get("entry"), queue_id)
            if entry is not None:
                return entry
        if missing is not None:
            raise missing
        return None

    def _get_all(self, query: Mapping[str, Any]) -> list[Queue]:
        queues: list[Queue] = []
        while True:
            page = {**query, "only_fields": _FIELDS, "page": len(queues) // _PAGE, "page_size": _PAGE}
            found = self._session.call("queues.get_all", page).get("queues")
            more = [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []
            queues += map(Queue.from_wire, more)
            if len(more) < _PAGE:
                return queues

    def _no_queue(self, name: str, similar: Sequence[Queue]) -> NotFound:
        everything = self.all()
        names = [queue.name for queue in everything]
        partly = [f'"{queue.name}"' for queue in similar][:10]
        suggestion = did_you_mean(name, names) or (f"Did you mean {' or '.join(partly)}?" if partly else "")
        known = ", ".join(sorted(names)[:10]) + (" ..." if len(names) > 10 else "")
        return NotFound(
            f'there is no queue "{name}"',
            remedy=suggestion or f"The server has: {known or 'no queue at all'}; --create-queue makes one",
            code="queue-not-found",
        )
