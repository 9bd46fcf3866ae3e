"""The command line: finds the command, lets it parse and run, turns errors into one line and an exit code.

Only argparse is imported here, and of the commands the one that was asked for; a command imports what it runs when
it runs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from clearml_agent_clone import __version__
from clearml_agent_clone.errors import AgentError, UserError

COMMANDS = {
    "init": "set up clearml.conf: server, credentials, git",
    "daemon": "take tasks from queues and run them",
    "execute": "run one task here and now",
    "status": "tell how the agents of this machine are, and what they run",
    "cache": "list or remove what is kept on this machine: environments, repositories, downloads",
    "config": "print the effective configuration, secrets masked",
    "server": "run a ClearML-compatible server of your own on this machine",
    "demo": "watch the agent do its work: a server, a worker and a task, in a temporary folder",
}
"""Each is a module of ``cli``; the texts stand here too, so that ``--help`` need not import them."""


def build_parser(argv: Sequence[str]) -> argparse.ArgumentParser:
    """The command line, complete for the command that ``argv`` names."""
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
    expanded = any(argument.startswith("@") for argument in argv)  # a file of arguments may name any command
    for name, text in COMMANDS.items():
        if expanded or name in argv:
            importlib.import_module(f"clearml_agent_clone.cli.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=text)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0, 1 for an error that was told, 2 for wrong usage."""
    given = sys.argv[1:] if argv is None else argv
    parser = build_parser(given)
    arguments = parser.parse_args(given)
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
    from clearml_agent_clone.logs.redact import Redactor  # noqa: PLC0415 - only who fails pays for it

    known = sys.modules.get("clearml_agent_clone.config.secret_values")
    line = Redactor(known.remembered() if known is not None else ()).redact(" ".join(text.split()))
    sys.stderr.write(f"clearml_agent: ERROR: {line}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
