"""``clearml-agent config``: print the effective configuration."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clearml_agent_clone.config import Loaded


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "config",
        help="print the effective configuration, secrets masked",
        fromfile_prefix_chars="@",
        description="Print the effective configuration with secrets masked. What is wrong with it goes to stderr; "
        "the exit code is 1 when something in it keeps the agent from working.",
    )
    parser.add_argument("--origin", action="store_true", help="add where each value came from")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the configuration; 1 when it cannot work as it is."""
    from pathlib import Path  # noqa: PLC0415 - the parser of --help must not pay for what a command needs

    from clearml_agent_clone.config import load_settings  # noqa: PLC0415 - as above

    named = arguments.config_file
    loaded = load_settings(
        Path(named) if named else None, command_line={"agent.debug": True} if arguments.debug else None
    )
    if arguments.json:
        _print_json(loaded, origins=arguments.origin)
    else:
        _print_lines(loaded, origins=arguments.origin)
    for problem in loaded.problems:
        print(f"{problem.severity}: {problem}", file=sys.stderr)
    return 1 if any(problem.severity == "error" for problem in loaded.problems) else 0


def _print_lines(loaded: Loaded, *, origins: bool) -> None:
    from clearml_agent_clone import __version__  # noqa: PLC0415 - as above
    from clearml_agent_clone.config.printout import shown_lines  # noqa: PLC0415 - as above

    files = ", ".join(map(str, loaded.settings.config_files)) or None
    print(f"Current configuration (clearml_agent v{__version__}, location: {files}):")
    print("-" * 22)
    for line in shown_lines(loaded):
        print(f"{line}  # {line.origin}" if origins else line)
    print()


def _print_json(loaded: Loaded, *, origins: bool) -> None:
    import json  # noqa: PLC0415 - as above

    from clearml_agent_clone import __version__  # noqa: PLC0415 - as above
    from clearml_agent_clone.config.printout import shown_lines, shown_tree  # noqa: PLC0415 - as above

    report = {
        "version": __version__,
        "files": [str(path) for path in loaded.settings.config_files],
        "values": shown_tree(loaded),
        "problems": [
            {"severity": problem.severity, "key": problem.key, "text": str(problem)} for problem in loaded.problems
        ],
    }
    if origins:
        report["origins"] = {line.path: str(line.origin) for line in shown_lines(loaded)}
    print(json.dumps(report, indent=2, ensure_ascii=False))
