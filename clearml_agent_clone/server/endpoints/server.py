"""server.*: what this server is."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server.config import API_VERSION, SERVER_BUILD, SERVER_VERSION
from clearml_agent_clone.server.registry import REGISTRY, Request, endpoint


@endpoint("server.info")
async def info(request: Request, _body: dict[str, Any]) -> dict[str, Any]:
    return {
        "version": SERVER_VERSION,
        "build": SERVER_BUILD,
        "commit": "",
        "uid": request.state.auth.owner.company,
        "api_version": API_VERSION,
        "extensions": list(request.state.config.extensions),
    }


@endpoint("server.config")
async def config(_request: Request, _body: dict[str, Any]) -> dict[str, Any]:
    return {}


@endpoint("server.endpoints")
async def endpoints(_request: Request, _body: dict[str, Any]) -> dict[str, Any]:
    known = REGISTRY.names()
    return {
        "endpoints": [
            {"name": name, "min_version": ".".join(map(str, versions[-1]))} for name, versions in known.items()
        ]
    }


@endpoint("server.report_stats_option", writes=False)
async def report_stats_option(_request: Request, _body: dict[str, Any]) -> dict[str, Any]:
    return {"supported": False, "enabled": False}
