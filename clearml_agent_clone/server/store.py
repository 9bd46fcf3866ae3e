"""Documents in SQLite: JSON with the columns that queries need.

A document's small fields are one JSON text, its *head*; fields that may grow to megabytes (a diff, hundreds of
parameters) are *parts* with a row of their own each, so that a ping or a change of status does not rewrite them and a
look at the status does not read them. Columns are computed from the head by SQLite itself and cannot disagree with it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from clearml_agent_clone.server.faults import ApiFault

Document = dict[str, Any]


@attrs.frozen(kw_only=True)
class Collection:
    """One kind of document.

    ``fields`` are the top-level names, ``parts`` those with a row of their own, ``columns`` those SQLite has as (indexed)
    columns, ``dates`` and ``numbers`` those that are compared as such, ``patterns`` those whose filter is a regular
    expression, ``searched`` where ``search_text`` looks, ``references`` the collection an id points into.
    """

    kind: str
    table: str
    missing: Callable[[str], ApiFault]
    fields: frozenset[str]
    parts: frozenset[str] = frozenset()
    columns: frozenset[str] = frozenset()
    dates: frozenset[str] = frozenset()
    numbers: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    searched: tuple[str, ...] = ("id", "name", "comment")
    references: Mapping[str, str] = attrs.Factory(dict)

    def exists(self, db: sqlite3.Connection, key: str) -> bool:
        return db.execute(f"SELECT 1 FROM {self.table} WHERE id = ?", (key,)).fetchone() is not None  # noqa: S608 - our own constant

    def find(self, db: sqlite3.Connection, key: str, *names: str) -> Document | None:
        """The document ``key``: whole, or, when ``names`` are given, its head and those parts."""
        row = db.execute(f"SELECT doc FROM {self.table} WHERE id = ?", (key,)).fetchone()  # noqa: S608 - our own constant
        if row is None:
            return None
        document: Document = json.loads(row[0])
        self.attach_parts(db, [document], self.parts.intersection(names) if names else self.parts)
        return document

    def get(self, db: sqlite3.Connection, key: str, *names: str) -> Document:
        """As ``find``. Raises the collection's ``ApiFault`` when there is no such document."""
        document = self.find(db, key, *names)
        if document is None:
            raise self.missing(key)
        return document

    def insert(self, db: sqlite3.Connection, document: Mapping[str, Any]) -> None:
        """Add a document; ``document["id"]`` must be new."""
        head = {name: value for name, value in document.items() if name not in self.parts and value is not None}
        db.execute(f"INSERT INTO {self.table} (id, doc) VALUES (?, ?)", (document["id"], _dump(head)))  # noqa: S608 - our own constant
        for part in self.parts.intersection(document):
            self._write_part(db, document["id"], part, document[part])

    def patch(self, db: sqlite3.Connection, key: str, changes: Mapping[str, Any]) -> None:
        """Set the named fields, remove those whose value is None, leave the rest.

        A dotted name sets one value inside a field: ``execution.queue``. Only names of our own making may have dots;
        for names that users chose, set the whole field. Raises the collection's ``ApiFault`` for an unknown ``key``.
        """
        tops = {name.partition(".")[0] for name in changes}
        document = self.get(db, key, "id", *tops)
        for name, value in changes.items():
            _assign(document, name.split("."), value)
        for part in tops & self.parts:
            self._write_part(db, key, part, document.pop(part, None))
        if not tops <= self.parts:
            head = {name: value for name, value in document.items() if name not in self.parts}
            db.execute(f"UPDATE {self.table} SET doc = ? WHERE id = ?", (_dump(head), key))  # noqa: S608 - our own constant

    def delete(self, db: sqlite3.Connection, key: str) -> bool:
        """Remove a document; whether it was there."""
        if self.parts:
            db.execute(f"DELETE FROM {self.table}_parts WHERE id = ?", (key,))  # noqa: S608 - our own constant
        return db.execute(f"DELETE FROM {self.table} WHERE id = ?", (key,)).rowcount > 0  # noqa: S608 - our own constant

    def select(
        self, db: sqlite3.Connection, clause: str = "", params: Iterable[Any] = (), *, parts: Iterable[str] = ()
    ) -> list[Document]:
        """Documents that match ``clause`` (``WHERE … ORDER BY … LIMIT …``), each its head and ``parts``."""
        rows = db.execute(f"SELECT doc FROM {self.table} {clause}", tuple(params))  # noqa: S608 - clauses are ours, values are bound
        documents = [json.loads(row[0]) for row in rows]
        self.attach_parts(db, documents, self.parts.intersection(parts))
        return documents

    def attach_parts(self, db: sqlite3.Connection, documents: list[Document], parts: Iterable[str]) -> None:
        """Complete heads by ``parts``."""
        wanted = list(parts)
        if not wanted or not documents:
            return
        by_id = {document["id"]: document for document in documents}
        rows = db.execute(
            f"SELECT id, part, doc FROM {self.table}_parts WHERE id IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own constant
            " AND part IN (SELECT value FROM json_each(?))",
            (_dump(list(by_id)), _dump(wanted)),
        )
        for key, part, text in rows:
            by_id[key][part] = json.loads(text)

    def _write_part(self, db: sqlite3.Connection, key: str, part: str, value: Any) -> None:
        if value is None:
            db.execute(f"DELETE FROM {self.table}_parts WHERE id = ? AND part = ?", (key, part))  # noqa: S608 - our own constant
        else:
            db.execute(f"INSERT OR REPLACE INTO {self.table}_parts VALUES (?, ?, ?)", (key, part, _dump(value)))  # noqa: S608 - our own constant


def _assign(document: Document, path: list[str], value: Any) -> None:
    for name in path[:-1]:
        inner = document.get(name)
        if not isinstance(inner, dict):
            inner = document[name] = {}
        document = inner
    if value is None:
        document.pop(path[-1], None)
    else:
        document[path[-1]] = value


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
