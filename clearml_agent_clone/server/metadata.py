"""Key, type and value on queues and models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.faults import invalid
from clearml_agent_clone.server.store import Document


def metadata(value: Any) -> Document:
    """Metadata items by key, from an object or a list of items. Raises ``ApiFault`` 400/12."""
    items = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        raise invalid("metadata", "Value is not an object of items")
    if isinstance(value, Mapping):
        items = [{"key": key, **item} for key, item in value.items()]
    return {fields.required(item, "key"): _item(item) for item in items}


def with_metadata(document: Document, body: fields.Body) -> Document:
    """The document's metadata after ``add_or_update_metadata``."""
    new = metadata(body.get("metadata") or [])
    return new if fields.flag(body, "replace_metadata") else {**document.get("metadata", {}), **new}


def without_metadata(document: Document, body: fields.Body) -> Document:
    """The document's metadata after ``delete_metadata``."""
    gone = set(fields.texts(body, "keys"))
    return {key: item for key, item in document.get("metadata", {}).items() if key not in gone}


def _item(item: Mapping[str, Any]) -> Document:
    return {name: fields.text(item, name) for name in ("key", "type", "value") if item.get(name) is not None}
