"""Which configuration files there are, and in which order they count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from clearml_agent_clone.config.kinds import expand_path, home
from clearml_agent_clone.config.problems import Problem
from clearml_agent_clone.config.trees import Origin
from clearml_agent_clone.config.variables_table import CONFIG_ENV, CONFIG_FILE, CONFIG_PATH
from clearml_agent_clone.errors import UserError


@attrs.frozen
class Place:
    """A file that may hold configuration; ``below`` is the dotted key that its content stands under."""

    path: Path
    below: str = ""


@attrs.frozen
class Places:
    """The files to read, lowest layer first; some may not exist."""

    files: tuple[Place, ...]
    problems: tuple[Problem, ...] = ()


def find_places(config_file: Path | None, environ: Mapping[str, str]) -> Places:
    """Where to look for configuration.

    Raises:
        UserError: ``config_file`` is not there, or TRAINS_ENV names no known environment.
    """
    problems: list[Problem] = []
    files = [*_folder_tree(environ, problems)]
    named = CONFIG_FILE.find(environ)
    if config_file is not None:
        path = expand_path(str(config_file), environ)
        if not path.is_file():
            raise UserError(
                f"--config-file {path}: no such file",
                remedy="Correct the path, or make a file there with clearml-agent init",
                code="config-missing",
            )
        files.append(Place(path))
    elif named:
        variable, text = named
        path = expand_path(text, environ)
        if not path.is_file():
            message = f"{path} is not a file"
            problems.append(Problem.at(Origin(variable), variable, message, "No configuration file is read"))
        files.append(Place(path))
    else:
        files += [Place(home(environ) / "trains.conf"), Place(home(environ) / "clearml.conf")]
    return Places(tuple(files), tuple(problems))


def _folder_tree(environ: Mapping[str, str], problems: list[Problem]) -> Iterator[Place]:
    """The files of CLEARML_CONFIG_PATH: ``default/a/b.conf`` is the content of the key ``a.b``."""
    named = CONFIG_PATH.find(environ)
    if not named:
        return
    variable, text = named
    root = expand_path(text, environ)
    if not root.is_dir():
        message = f"{root} is not a folder"
        problems.append(Problem.at(Origin(variable), variable, message, "It is ignored"))
        return
    for environment in dict.fromkeys(("default", CONFIG_ENV.get(environ) or "default")):
        base = root / environment
        for path in sorted(base.rglob("*.conf")):
            yield Place(path, ".".join(path.relative_to(base).with_suffix("").parts))
