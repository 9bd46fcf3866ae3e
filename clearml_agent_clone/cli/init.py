"""``clearml-agent init``: ask for server and credentials, check them, write clearml.conf."""

from __future__ import annotations

import argparse
import os


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "init",
        help="set up clearml.conf: server, credentials, git",
        fromfile_prefix_chars="@",
        description="Ask for the server and its credentials, check them with a login, and write the configuration "
        "file: the one that --config-file or CLEARML_CONFIG_FILE names, else ~/clearml.conf. A file that is there "
        "already is left alone.",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the wizard; 1 when nothing was written."""
    from clearml_agent_clone.cli.wizard import log_in, set_up, target_file  # noqa: PLC0415 - --help must not pay for it

    return set_up(target_file(arguments.config_file, os.environ), log_in)
