"""Which fields of a document an answer has: ``only_fields``, and references that are expanded to objects."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

import attrs

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.auth import Identity
from clearml_agent_clone.server.documents import BY_TABLE
from clearml_agent_clone.server.faults import unknown_field
from clearml_agent_clone.server.store import Collection, Document

_PEOPLE = ("user", "company")


@attrs.frozen
class Projection:
    """``included`` empty means everything but ``excluded``. Names are dotted."""

    included: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()

    def parts(self, collection: Collection) -> frozenset[str]:
        """The parts of a document that must be read."""
        if not self.included:
            return collection.parts.difference(self.excluded)
        return collection.parts.intersection(name.partition(".")[0] for name in self.included)

    def apply(self, document: Document) -> Document:
        """``document`` with the wanted fields only."""
        if self.included:
            kept: Document = {}
            for name in self.included:
                _copy(document, kept, name.split("."))
            return kept
        for name in self.excluded:
            _drop(document, name.split("."))
        return document

    def below(self, name: str) -> tuple[str, ...]:
        """What is asked of the object that the reference ``name`` points to: ``name`` for ``project.name``."""
        return tuple(one[len(name) + 1 :] for one in self.included if one.startswith(f"{name}."))


def parse_projection(collection: Collection, body: fields.Body) -> Projection:
    """The ``only_fields`` of a body. Raises ``ApiFault`` 400/14 for a field that such documents do not have."""
    names = fields.texts(body, "only_fields")
    for name in names:
        if name.removeprefix("-").split(".")[0] not in collection.fields:
            raise unknown_field(name)
    excluded = tuple(name[1:] for name in names if name.startswith("-"))
    return Projection(tuple(name for name in names if not name.startswith("-")), excluded)


def with_ids(collection: Collection, wanted: Projection) -> Projection:
    """``wanted`` with the ids of the document and of every object in it that is asked for in part."""
    if not wanted.included:
        return wanted
    partly = [name for name in (*_PEOPLE, *collection.references) if wanted.below(name)]
    return Projection(("id", *wanted.included, *(f"{name}.id" for name in partly)), wanted.excluded)


def expand(
    db: sqlite3.Connection, collection: Collection, documents: list[Document], wanted: Projection, owner: Identity
) -> None:
    """Replace ids by objects, as the ``_ex`` endpoints answer: ``{"id": …}`` and what ``wanted`` asks of them."""
    for name in (*_PEOPLE, *collection.references):
        below = wanted.below(name)
        if wanted.included and not below and name not in wanted.included:
            continue
        ids = {key for document in documents if isinstance(key := _value(document, name), str)}
        known = _referenced(db, collection, name, ids, below=below, owner=owner)
        for document in documents:
            key = _value(document, name)
            if isinstance(key, str):
                _put(document, name, known.get(key, {"id": key}))


def _referenced(
    db: sqlite3.Connection, collection: Collection, name: str, ids: set[str], *, below: tuple[str, ...], owner: Identity
) -> Mapping[str, Document]:
    if not below or not ids:
        return {}
    if name in _PEOPLE:
        person = {"id": getattr(owner, name), "name": getattr(owner, f"{name}_name")}
        return {person["id"]: Projection(("id", *below)).apply(person)}
    other = BY_TABLE[collection.references[name]]
    inner = Projection(("id", *below))
    found = (other.find(db, key, "id", *inner.parts(other)) for key in ids)
    return {document["id"]: inner.apply(document) for document in found if document is not None}


def _value(document: Document, name: str) -> Any:
    value: Any = document
    for step in name.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value


def _put(document: Document, name: str, value: Any) -> None:
    *path, last = name.split(".")
    for step in path:
        document = document[step]
    document[last] = value


def _copy(document: Any, kept: Document, path: list[str]) -> None:
    if not isinstance(document, dict) or path[0] not in document:
        return
    value = document[path[0]]
    if len(path) == 1:
        kept[path[0]] = value
    elif isinstance(value, dict):
        inner = kept.setdefault(path[0], {})
        if inner is not value:
            _copy(value, inner, path[1:])
    elif isinstance(value, list) and all(isinstance(item, dict) for item in value):
        items = kept.setdefault(path[0], [{} for _ in value])
        for item, target in zip(value, items, strict=True):
            if item is not target:
                _copy(item, target, path[1:])


def _drop(document: Any, path: list[str]) -> None:
    if not isinstance(document, dict):
        return
    if len(path) == 1:
        document.pop(path[0], None)
    else:
        _drop(document.get(path[0]), path[1:])
