"""Scroll ids: a place in a listing, written so that the server has to remember nothing.

What arrives between two pages is seen when it sorts behind the place, as the next page starts there.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from clearml_agent_clone.server.faults import ApiFault


def scroll_id(**place: Any) -> str:
    """An id for ``place``, whose values are JSON."""
    return base64.urlsafe_b64encode(json.dumps(place, separators=(",", ":")).encode()).decode()


def scroll_place(text: str) -> dict[str, Any]:
    """The place behind an id; an empty one for an empty text. Raises ``ApiFault`` 400/1104."""
    if not text:
        return {}
    try:
        place = json.loads(base64.urlsafe_b64decode(text.encode()))
    except (ValueError, binascii.Error):
        place = None
    if not isinstance(place, dict):
        raise bad_scroll(text)
    return place


def bad_scroll(text: str) -> ApiFault:
    """The fault for an id that is not ours or belongs to another listing."""
    return ApiFault(400, 1104, f"Invalid scroll id: scroll_id={text[:80]}", {"scroll_id": text[:80]})
