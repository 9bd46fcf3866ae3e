"""The client of the ClearML REST API.

``Session`` logs in, keeps the connection and repeats what failed for a moment; ``Client`` has the typed calls;
``types`` holds the values and ``errors`` what can go wrong.

The names are imported when they are first used: whoever needs only the value types does not pay for HTTP.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clearml_agent_clone.api.client import Client
    from clearml_agent_clone.api.session import ONCE, Retry, ServerAccess, ServerInfo, Session, Timeout

__all__ = ["ONCE", "Client", "Retry", "ServerAccess", "ServerInfo", "Session", "Timeout"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "client" if name == "Client" else "session"
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
