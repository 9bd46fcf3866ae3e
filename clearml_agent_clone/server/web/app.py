"""The ASGI application of the web port."""

from __future__ import annotations

from starlette.applications import Starlette

from clearml_agent_clone.server.state import ServerState


def build_web(state: ServerState) -> Starlette:
    app = Starlette()
    app.state.server = state
    return app
