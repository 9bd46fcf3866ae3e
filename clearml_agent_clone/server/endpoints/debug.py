"""debug.*: is anybody there?"""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server.registry import Request, endpoint


@endpoint("debug.ping", auth=False)
async def ping(_request: Request, body: dict[str, Any]) -> dict[str, Any]:
    return body
