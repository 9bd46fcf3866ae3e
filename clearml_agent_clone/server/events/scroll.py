"""Scroll ids: a place in a listing, written so that the server has to remember nothing.

What arrives between two pages is seen when it sorts behind the place, as the next page starts there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, TypeVar

from clearml_agent_clone.server.faults import ApiFault

Place = TypeVar("Place")


def scroll_id(owner: str, at: Any) -> str:
    """An id for the place ``at`` (JSON) in a listing of ``owner``."""
    return base64.urlsafe_b64encode(json.dumps({"of": owner, "at": at}, separators=(",", ":")).encode()).decode()


def place_for(text: str, owner: str, read: Callable[[Any], Place]) -> Place | None:
    """The place behind an id, None for an empty text or an id of the very start.

    Args:
        text: what the client sent.
        owner: whom the listing is about.
        read: makes a place of the JSON that was put in; raises ``ValueError`` for one of another kind.

    Raises:
        ApiFault: 400/1104, the id is not ours or belongs to another listing.
    """
    if not text:
        return None
    try:
        written = json.loads(base64.urlsafe_b64decode(text.encode()))
        if written["of"] != owner:
            raise _bad(text)
        return None if written["at"] is None else read(written["at"])
    except (ValueError, TypeError, KeyError):
        raise _bad(text) from None


def _bad(text: str) -> ApiFault:
    return ApiFault(400, 1104, f"Invalid scroll id: scroll_id={text[:80]}", {"scroll_id": text[:80]})
