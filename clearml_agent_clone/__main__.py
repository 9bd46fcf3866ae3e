"""The command line: finds the command, lets it parse and run, turns errors into one line and an exit code.

Only argparse and the commands' parsers are imported here; a command imports what it runs when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from clearml_agent_clone import __version__
from clearml_agent_clone.cli import config, daemon, demo, execute, init, server
from clearml_agent_clone.errors import AgentError, UserError

_COMMANDS = (init, daemon, execute, config, server, demo)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="clearml-agent",
        description="CLEARML-AGENT AI Orchestration DevOps: takes tasks from ClearML queues, reproduces their "
        "environment and runs them.",
        fromfile_prefix_chars="@",
    )
    parser.add_argument("--version", action="version", version=f"CLEARML-AGENT version {__version__}")
    parser.add_argument("--config-file", metavar="FILE", help="use this configuration file instead of ~/clearml.conf")
    parser.add_argument(
        "--debug", "-d", action="store_true", help="log more, show tracebacks, keep the folders of runs"
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for an error that was told, 2 for wrong usage."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        return int(arguments.run(arguments))
    except AgentError as error:
        if arguments.debug:
            raise
        return _tell(str(error))
    except KeyboardInterrupt:
        return 254
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nobody is left to tell
        return 0
    except OSError as error:
        if arguments.debug:
            raise
        return _tell(str(UserError(f"{error.filename or 'the system'}: {error.strerror or error}")))


def _tell(text: str) -> int:
    line = " ".join(text.split())
    sys.stderr.write(f"clearml_agent: ERROR: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
