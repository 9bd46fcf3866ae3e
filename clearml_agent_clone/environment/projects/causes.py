"""Why poetry or uv could not install a project, in one line, with one next step."""

from __future__ import annotations

import re

from clearml_agent_clone.environment.failures import Failure, diagnose

_OPTION = "Correct poetry_install_extra_args or uv_sync_extra_args (agent.package_manager)"
_RULES: tuple[tuple[str, str, str], ...] = (
    (
        r"(?:pyproject\.toml changed significantly|poetry\.lock is not up to date)",
        "poetry.lock does not fit pyproject.toml any more",
        "Run poetry lock, commit poetry.lock, and run the task from there",
    ),
    (
        r"Current Python version \(([\d.]+)\) is not allowed by the project \(([^)]*)\)",
        "the project requires Python {1}, and the task runs with {0}",
        "Change script.binary of the task",
    ),
    (
        r"requested interpreter resolved to Python ([\d.]+), which .{0,40} project's Python requirement: `([^`]*)`",
        "the project requires Python {1}, and the task runs with {0}",
        "Change script.binary of the task",
    ),
    (
        r"lock file is not compatible with the current version of Poetry",
        "poetry.lock was made by another generation of poetry",
        "Name a poetry that reads it (agent.package_manager.poetry_version)",
    ),
    (r"Group\(s\) not found: ([^\n]*)", "the project has no such group: {0}", _OPTION),
    (r"Group `([^`]*)` is not defined", "the project has no such group: {0}", _OPTION),
    (r"Extra(?:\(s\))? \[([^\]]*)\] (?:is|are) not specified", "the project has no such extra: {0}", _OPTION),
    (r"Extra `([^`]*)` is not defined", "the project has no such extra: {0}", _OPTION),
    (
        r'(?:The option "([^"]*)" does not exist|unexpected argument \'([^\']*)\')',
        "there is no option {0}{1}",
        _OPTION,
    ),
    (
        r"Source \(([^)]*)\): Authorization error accessing (\S+)",
        "source {0} refuses the credentials ({1})",
        "Set POETRY_HTTP_BASIC_<SOURCE>_USERNAME and _PASSWORD, or give the index its credentials in extra_index_url",
    ),
    (
        r"All attempts to connect to (\S+) failed",
        "{0} cannot be reached",
        "Check the network, or name a source in pyproject.toml that this machine can reach",
    ),
    (
        r"Because \S+ depends on (\S+) \(([^)]*)\) which doesn't match any versions",
        "package {0} has no version {1} in the project's sources",
        "Ask for a version that exists",
    ),
    (
        r"Unable to find installation candidates for (\S+) \(([^)]*)\)",
        "package {0} {1} has no file for this machine and Python in the project's sources",
        "Lock a version that has one",
    ),
    (
        r"(Because .{0,300}version solving failed)",
        "the requirements contradict each other: {0}",
        "Correct pyproject.toml",
    ),
    (r"The Poetry configuration is invalid:\s*-?\s*([^\n]*)", "pyproject.toml is no poetry project: {0}", "Correct it"),
    (
        r"Distribution `([^`]*)` can't be installed because ([^\n]*)",
        "package {0} has no file for this machine and Python: {1}",
        "Lock a version that has one",
    ),
    (r"Failed to parse `([^`]*)`", "{0} cannot be read", "Correct the file, or lock anew"),
    (r"Hash mismatch for `([^`]*)`", "the file of {0} is not the one that was locked", "Lock anew, or check the index"),
)
_COMPILED = tuple((re.compile(pattern, re.DOTALL), cause, remedy) for pattern, cause, remedy in _RULES)
_LONGEST = 400


def explain(output: str, places: str) -> Failure:
    """The decisive part of what poetry or uv printed. ``places`` is where packages were looked for."""
    for pattern, cause, remedy in _COMPILED:
        match = pattern.search(output)
        if match:
            message = " ".join(cause.format(*(group or "" for group in match.groups())).split())
            return Failure(message[:_LONGEST].rstrip("."), remedy)
    return diagnose(output, places)
