"""The API's endpoints, one module per service or part of one. Importing this package registers them all."""

from clearml_agent_clone.server.endpoints import auth, debug, events, server

__all__ = ["auth", "debug", "events", "server"]
