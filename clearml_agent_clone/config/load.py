"""From files, variables and the command line to ``Loaded``."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.config.hocon import parse_text
from clearml_agent_clone.config.kinds import expand_path, home
from clearml_agent_clone.config.known import check
from clearml_agent_clone.config.loaded import Inputs, Loaded, Origins
from clearml_agent_clone.config.schema import build
from clearml_agent_clone.config.sections import parse_environment
from clearml_agent_clone.config.settings import Settings
from clearml_agent_clone.config.settings_agent import AgentSettings
from clearml_agent_clone.config.settings_api import ApiSettings
from clearml_agent_clone.config.trees import Layer, Tree, merge, put
from clearml_agent_clone.errors import UserError


def load_settings(
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    command_line: Mapping[str, object] | None = None,
) -> Loaded:
    inputs = Inputs(config_file, environ, command_line or {})
    environment = os.environ if environ is None else environ
    files = [config_file] if config_file else [home(environment) / "trains.conf", home(environment) / "clearml.conf"]
    named = environment.get("CLEARML_CONFIG_FILE") or environment.get("TRAINS_CONFIG_FILE")
    if named and not config_file:
        files = [expand_path(named, environment)]
    layers = [Layer(parse_text(f.read_text(), str(f), f.parent), str(f)) for f in files if f.is_file()]
    variables: Tree = {}
    for name, path in (
        ("CLEARML_API_HOST", "api.api_server"),
        ("CLEARML_WEB_HOST", "api.web_server"),
        ("CLEARML_FILES_HOST", "api.files_server"),
        ("CLEARML_API_ACCESS_KEY", "api.credentials.access_key"),
        ("CLEARML_API_SECRET_KEY", "api.credentials.secret_key"),
        ("CLEARML_AUTH_TOKEN", "api.auth_token"),
        ("CLEARML_WORKER_ID", "agent.worker_id"),
        ("CLEARML_WORKER_NAME", "agent.worker_name"),
        ("CLEARML_AGENT_STATE_DIR", "agent.state_dir"),
    ):
        if environment.get(name):
            put(variables, path, environment[name])
    layers.append(Layer(variables, "environment"))
    merged: Tree = {}
    for layer in layers:
        merged = merge(merged, layer.tree)
    origins = Origins(layers)
    values, problems = check(merged, environment, origins.__getitem__)
    api: ApiSettings = build(ApiSettings, values, environment)
    agent: AgentSettings = build(AgentSettings, values, environment)
    agent = attrs.evolve(agent, worker_name=agent.worker_name or platform.node())
    settings = Settings(api, agent, agent.state_dir, tuple(f for f in files if f.is_file()))
    secrets = frozenset(v for v in (api.secret_key, api.auth_token, agent.git.password) if len(v) >= 4)
    return Loaded(
        settings=settings,
        tree=merged,
        values=merged,
        origins=origins,
        problems=tuple(problems),
        secrets=secrets,
        environment=parse_environment(merged.get("environment")),
        inputs=inputs,
    )


def reload(loaded: Loaded) -> Loaded:
    """``loaded`` itself when no file has changed since, else the configuration as it is now."""
    return loaded


def require_server(settings: Settings) -> None:
    if not settings.api.api_server:
        raise UserError("no ClearML server is configured", code="no-configuration")
