"""The ``clearml.conf`` that makes a client use this server."""

from __future__ import annotations

import json

from clearml_agent_clone.server.auth import KeyPair
from clearml_agent_clone.server.state import Addresses


def client_config(addresses: Addresses, pair: KeyPair) -> str:
    """A complete configuration file for the SDK and the agent. It holds the secret key."""
    return f"""\
# Configuration for the ClearML SDK and agent: save it as ~/clearml.conf (mode 0600: it holds a secret).
api {{
    api_server: {json.dumps(addresses.api)}
    web_server: {json.dumps(addresses.web)}
    files_server: {json.dumps(addresses.files)}
    credentials {{
        "access_key" = {json.dumps(pair.access_key)}
        "secret_key" = {json.dumps(pair.secret_key)}
    }}
}}
"""
