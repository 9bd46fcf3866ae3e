"""``clearml-agent demo``."""

from __future__ import annotations

import argparse


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="watch the agent do its work: a server, a worker and a task, in a temporary folder",
        description=(
            "Start a server on free local ports and a worker, record a task from a new git repository, put it into "
            "the worker's queue, show its console until it has ended, and remove everything again."
        ),
    )
    parser.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
    from clearml_agent_clone.demo.show import demo  # noqa: PLC0415 - the server is heavy and an extra

    return demo()
