"""From files, variables and the command line to ``Loaded``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from clearml_agent_clone.config import overrides, variables
from clearml_agent_clone.config.cache import read_config
from clearml_agent_clone.config.hosts import complete_hosts, host_problems, why_unusable
from clearml_agent_clone.config.kinds import expand_path, home
from clearml_agent_clone.config.known import check
from clearml_agent_clone.config.loaded import Inputs, Loaded, Origins
from clearml_agent_clone.config.parsed import Stamp, stamp_of
from clearml_agent_clone.config.places import Place, find_places
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.schema import build
from clearml_agent_clone.config.sdk_tree import sdk_tree
from clearml_agent_clone.config.secret_values import secret_values
from clearml_agent_clone.config.sections import parse_environment, parse_files
from clearml_agent_clone.config.settings import Settings
from clearml_agent_clone.config.settings_agent import AgentSettings
from clearml_agent_clone.config.settings_api import ApiSettings
from clearml_agent_clone.config.trees import Layer, Origin, Tree, merge, put
from clearml_agent_clone.config.variables_table import STATE_DIR, TABLE
from clearml_agent_clone.errors import UserError


def load_settings(
    config_file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    command_line: Mapping[str, object] | None = None,
    apart: bool = False,
) -> Loaded:
    """Read the configuration.

    Layers, lowest first: defaults, the folder of CLEARML_CONFIG_PATH, ``~/trains.conf``, ``~/clearml.conf`` (or the one
    file that ``config_file`` or CLEARML_CONFIG_FILE names in place of both), ``CLEARML_AGENT__*`` variables, the other
    variables, ``command_line``. Without any of them this succeeds with an empty ``api_server``; see ``require_server``.

    Args:
        config_file: what ``--config-file`` named.
        environ: the environment; None for that of this process.
        command_line: dotted key to value, for flags that stand for a key.
        apart: let a file that changed be parsed by a process of its own. It takes a moment longer and keeps ten
            megabytes of parser out of a process that lives long.

    Raises:
        UserError: a file that was asked for is not there, a file is no HOCON, a ``CLEARML_AGENT__`` value cannot be read.
    """
    inputs = Inputs(config_file, environ, dict(command_line or {}), apart)
    environment = os.environ if environ is None else environ
    places = find_places(config_file, environment)
    layers, stamps, problems = _file_layers(places.files, environment, apart=apart)
    layers.append(overrides.layer(environment))
    layer, variable_problems = variables.layer(TABLE, environment, _merged(layers))
    layers += [layer, _command_line_layer(inputs.command_line)]
    merged = _merged(layers)
    origins = Origins(layers)
    values, key_problems = check(merged, environment, origins.__getitem__)
    settings, derived = _settings(values, environment)
    settings = attrs.evolve(settings, config_files=tuple(place.path for place in places.files if stamps[place.path]))
    origins = Origins(layers, derived)
    secrets = secret_values(merged, environment)
    environment_section, environment_problems = parse_environment(merged.get("environment"), origins.__getitem__)
    files_section, file_problems = parse_files(merged.get("files"), environment, origins.__getitem__)
    return Loaded(
        settings=settings,
        tree=sdk_tree(settings, merged, secrets),
        values=merged,
        origins=origins,
        problems=(
            *places.problems,
            *problems,
            *variable_problems,
            *key_problems,
            *host_problems(settings.api, origins),
            *environment_problems,
            *file_problems,
        ),
        secrets=secrets,
        environment=environment_section,
        files=files_section,
        inputs=inputs,
        stamps=stamps,
    )


def reload(loaded: Loaded) -> Loaded:
    """``loaded`` itself when no file has changed since, else the configuration as it is now.

    Costs one ``stat`` for each file. Files that were missing are looked for too.

    Raises:
        UserError: as ``load_settings``; the caller will want to say so and go on with ``loaded``.
    """
    environment = os.environ if loaded.inputs.environ is None else loaded.inputs.environ
    places = {place.path for place in find_places(loaded.inputs.config_file, environment).files}
    if places <= set(loaded.stamps) and all(stamp_of(path) == stamp for path, stamp in loaded.stamps.items()):
        return loaded
    inputs = loaded.inputs
    return load_settings(inputs.config_file, inputs.environ, command_line=inputs.command_line, apart=inputs.apart)


def require_server(settings: Settings) -> None:
    """Check that a server can be reached at all with these settings.

    Raises:
        UserError: no server is configured, its address cannot be used, or there are no credentials.
    """
    api = settings.api
    remedy = (
        "Run clearml-agent init to connect to a ClearML server, or clearml-agent server to run one of your own "
        "(clearml-agent server --print-config prints the configuration for it)"
    )
    if not api.api_server:
        raise UserError("no ClearML server is configured", remedy=remedy, code="no-configuration")
    reason = why_unusable(api.api_server)
    if reason:
        raise UserError(
            f'api.api_server: "{api.api_server}" {reason}',
            remedy="Write it as http://host:port or https://host",
            code="bad-server-address",
        )
    if not api.auth_token and not (api.access_key and api.secret_key):
        missing = "secret_key" if api.access_key else "access_key"
        raise UserError(
            f"no credentials for {api.api_server}: api.credentials.{missing} is not set",
            remedy="Run clearml-agent init, or set CLEARML_API_ACCESS_KEY and CLEARML_API_SECRET_KEY",
            code="no-credentials",
        )


def _file_layers(
    files: Iterable[Place], environ: Mapping[str, str], *, apart: bool
) -> tuple[list[Layer], dict[Path, Stamp | None], list[Problem]]:
    """The layers of the files that exist, the stamps of all, and includes that lead nowhere."""
    layers: list[Layer] = []
    stamps: dict[Path, Stamp | None] = {}
    problems: list[Problem] = []
    folder = _cache_folder(environ)
    for place in files:
        stamps[place.path] = stamp_of(place.path)
        if not place.path.is_file():
            continue
        parsed = read_config(place.path, environ, below=place.below, folder=folder, apart=apart)
        layers.append(parsed.layer(place.path))
        stamps.update((path, stamp_of(path)) for path in parsed.files)
        for line, name in parsed.missing:
            message = f'the included file "{name}" does not exist'
            problems.append(Problem.at(Origin(str(place.path), line), "include", message, "It is left out"))
    return layers, stamps, problems


def _cache_folder(environ: Mapping[str, str]) -> Path:
    """Where parsed files are kept.

    A state folder that is named in a file does not count here: that file would have to be parsed first.
    """
    named = STATE_DIR.find(environ)
    override = environ.get(overrides.PREFIX + "AGENT__STATE_DIR", "").strip().strip('"')
    if named or override:
        return expand_path(named[1] if named else override, environ) / "config-cache"
    return home(environ) / ".clearml" / "agent" / "config-cache"


def _command_line_layer(given: Mapping[str, object]) -> Layer:
    tree: Tree = {}
    for path, value in given.items():
        put(tree, path, value)
    return Layer(tree, "command line")


def _merged(layers: Iterable[Layer]) -> Tree:
    merged: Tree = {}
    for layer in layers:
        merged = merge(merged, layer.tree)
    return merged


def _settings(values: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[Settings, dict[str, Origin]]:
    """The typed settings, and the origins of values that follow from others or from this machine."""
    api, derived = complete_hosts(build(ApiSettings, values, environ))
    agent: AgentSettings = build(AgentSettings, values, environ)
    if not agent.worker_name:
        agent = attrs.evolve(agent, worker_name=os.uname().nodename)
        derived["agent.worker_name"] = Origin("host name")
    if not agent.default_python:
        agent = attrs.evolve(agent, default_python=f"{sys.version_info.major}.{sys.version_info.minor}")
        derived["agent.default_python"] = Origin("Python of the agent")
    return Settings(api, agent, agent.state_dir), derived
