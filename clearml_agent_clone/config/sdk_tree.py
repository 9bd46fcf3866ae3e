"""The configuration as the SDK of a task gets it, in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clearml_agent_clone.config.known import known_keys
from clearml_agent_clone.config.masking import mask_known, mask_urls
from clearml_agent_clone.config.schema import plain, typed_items
from clearml_agent_clone.config.settings import Settings
from clearml_agent_clone.config.trees import Tree, drop, find, merge, put


def effective_values(settings: Settings) -> dict[str, Any]:
    """Every key in use with its value, defaults included, as it would stand in a JSON file; not those that are unset."""
    values: dict[str, Any] = {}
    for part in (settings.api, settings.agent):
        for row, value in typed_items(part):
            shown = plain(value)
            if row.default is not None or shown not in (None, "", [], {}):
                values[row.path] = shown
    return values


def sdk_tree(settings: Settings, values: Tree, secrets: frozenset[str]) -> Tree:
    """What was configured, for the SDK.

    ``sdk`` and other sections are as the user wrote them. ``api`` is what was set, with every address and the
    credentials. ``agent`` is complete but for the secrets, of which the SDK needs none: git's above all.
    """
    tree = merge({}, values)
    agent = {path: value for path, value in effective_values(settings).items() if path.startswith("agent.")}
    api = settings.api
    known: Tree = {}
    for path, value in agent.items():
        put(known, path, value)
    for path, value in (
        ("api.api_server", api.api_server),
        ("api.host", api.api_server),
        ("api.web_server", api.web_server),
        ("api.files_server", api.files_server),
        ("api.credentials.access_key", api.access_key),
        ("api.credentials.secret_key", api.secret_key),
        ("api.verify_certificate", plain(api.verify_certificate)),
    ):
        put(known, path, value)
    tree = merge(tree, known)
    drop(tree, "api.auth_token")  # travels in a variable, as the SDK expects it
    for path, row in known_keys().items():
        if row.secret and path.startswith("agent."):
            drop(tree, path)
        elif row.embeds and find(tree, path):
            put(tree, path, _masked(find(tree, path), secrets))
    return tree


def _masked(value: Any, secrets: frozenset[str]) -> Any:
    if isinstance(value, Mapping):
        return {name: _masked(item, secrets) for name, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, secrets) for item in value]
    return mask_urls(mask_known(value, secrets)) if isinstance(value, str) else value
