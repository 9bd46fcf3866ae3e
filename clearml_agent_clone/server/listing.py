"""``get_all`` of any kind of document: filter, order, page, project."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

import attrs

from clearml_agent_clone.server import fields, query
from clearml_agent_clone.server.documents import new_id
from clearml_agent_clone.server.faults import ApiFault, invalid
from clearml_agent_clone.server.projection import expand, parse_projection, with_ids
from clearml_agent_clone.server.query import Where
from clearml_agent_clone.server.registry import Call
from clearml_agent_clone.server.store import Collection, Document

MOST_PER_CALL = 500
_SCROLL_LIFE = 600.0
_MANY_SCROLLS = 1000
_LAST_PAGE = 2**40
_CONTROLS = frozenset(
    {
        "only_fields",
        "order_by",
        "page",
        "page_size",
        "scroll_id",
        "refresh_scroll",
        "size",
        "search_text",
        "search_hidden",
        "include_subprojects",
        "_any_",
        "_all_",
        "filters",
    }
)


@attrs.frozen
class Listing:
    """A page of documents; ``scroll_id`` leads to the next one when the client scrolls."""

    documents: list[Document]
    scroll_id: str = ""

    def reply(self, name: str) -> dict[str, Any]:
        """The endpoint's ``data``."""
        data: dict[str, Any] = {name: self.documents}
        if self.scroll_id:
            data["scroll_id"] = self.scroll_id
        return data


class Scrolls:
    """How far each scroll has come. Kept in memory for ten minutes, as the API promises no more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._offsets: dict[str, tuple[int, float]] = {}

    def position(self, scroll_id: str) -> int:
        """Where ``scroll_id`` goes on. Raises ``ApiFault`` 400/1104 when it is unknown or forgotten."""
        with self._lock:
            offset, expires = self._offsets.get(scroll_id, (0, 0.0))
        if expires < time.monotonic():
            raise ApiFault(400, 1104, f"Invalid scroll id: {scroll_id}")
        return offset

    def keep(self, scroll_id: str, offset: int) -> None:
        now = time.monotonic()
        with self._lock:
            if len(self._offsets) >= _MANY_SCROLLS:
                self._offsets = {key: kept for key, kept in self._offsets.items() if kept[1] > now}
            self._offsets[scroll_id] = (offset, now + _SCROLL_LIFE)


_SCROLLS = Scrolls()


def get_all(
    call: Call, collection: Collection, body: fields.Body, *, also: Iterable[Where] = (), expanded: bool = False
) -> Listing:
    """The documents that ``body`` asks for.

    Args:
        call: the request.
        collection: the kind of document.
        body: filters by field name, and the controls ``only_fields``, ``order_by``, ``page``, ``scroll_id``, …
        also: further conditions.
        expanded: references become objects, as in the ``_ex`` endpoints.

    Raises:
        ApiFault: 400; 12 wrong type or pattern, 14 unknown field, 1104 unknown scroll.
    """
    wanted = parse_projection(collection, body)
    where = query.both([*conditions(collection, body), *also])
    scroll_id, offset, limit = _window(body)
    documents = collection.select(
        call.db,
        f"{where.clause} {_order(collection, body)} LIMIT ? OFFSET ?",
        (*where.params, limit, offset),
        parts=wanted.parts(collection),
    )
    if scroll_id:
        _SCROLLS.keep(scroll_id, offset + len(documents))
    if expanded:
        expand(call.db, collection, documents, wanted, call.user)
        wanted = with_ids(collection, wanted)
    return Listing([wanted.apply(document) for document in documents], scroll_id)


def conditions(collection: Collection, body: fields.Body) -> list[Where]:
    """The conditions of a body's filters."""
    found = [query.matching(collection, name, body[name]) for name in body if _is_filter(collection, name)]
    for name, spec in fields.mapping(body, "filters").items():
        found.append(query.matching(collection, name, spec))
    found += [query.across(collection, body[name], name) for name in ("_any_", "_all_") if body.get(name)]
    if text := fields.text(body, "search_text"):
        found.append(query.containing(collection, text))
    if not fields.flag(body, "search_hidden") and not body.get("id"):
        found.append(query.listed(collection, "system_tags", ["-hidden"]))
    return found


def _is_filter(collection: Collection, name: str) -> bool:
    # What is neither a field nor a control is not an error: clients add fields of their own to every body.
    return name not in _CONTROLS and name.partition(".")[0] in collection.fields


def _window(body: fields.Body) -> tuple[str, int, int]:
    if body.get("scroll_id") or (body.get("size") is not None and body.get("page") is None):
        size = fields.integer(body, "size", MOST_PER_CALL)
        if size < 1:
            raise invalid("size", "Value is below 1")
        given = fields.text(body, "scroll_id")
        if not given:
            return new_id(), 0, min(size, MOST_PER_CALL)
        offset = 0 if fields.flag(body, "refresh_scroll") else _SCROLLS.position(given)
        return given, offset, min(size, MOST_PER_CALL)
    page, size = fields.integer(body, "page"), fields.integer(body, "page_size", MOST_PER_CALL)
    if not 0 <= page <= _LAST_PAGE:
        raise invalid("page", "Value is out of range")
    if size < 1:
        raise invalid("page_size", "Value is below 1")
    size = min(size, MOST_PER_CALL)
    return "", page * size, size


def _order(collection: Collection, body: fields.Body) -> str:
    terms = []
    for name in fields.texts(body, "order_by"):
        if name.startswith("@"):
            continue  # a score of the text search, which we do not have
        plain = name.removeprefix("-")
        direction = "DESC" if name.startswith("-") else "ASC"
        terms.append(f"{query.source(collection, plain).scalar} {direction}")
    return "ORDER BY " + ", ".join([*terms, f"{collection.table}.id"] if terms else [f"{collection.table}.rowid"])
