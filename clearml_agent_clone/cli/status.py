"""``clearml-agent status``: how the agents of this user are. Needs no server and no configuration."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from clearml_agent_clone.errors import AgentError

if TYPE_CHECKING:
    from clearml_agent_clone.worker.sight.survey import Survey


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "status",
        help="tell how the agents of this machine are, and what they run",
        description="Tell how your agents on this machine are, and what they run. Needs no server. "
        "Exit code: 0 all is well; 1 something is wrong, or there is no agent.",
    )
    parser.add_argument("workers", nargs="*", metavar="WORKER", help="only these worker ids")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import json  # noqa: PLC0415 - only when it runs

    from clearml_agent_clone.worker.sight.report import to_json, to_text  # noqa: PLC0415
    from clearml_agent_clone.worker.sight.survey import take_survey  # noqa: PLC0415

    survey = take_survey(_state_dir(arguments.config_file), arguments.workers)
    missing = _tell_missing(survey, arguments.workers)
    if arguments.json:
        print(json.dumps(to_json(survey), indent=2))
    elif survey.agents or not arguments.workers:
        print(to_text(survey), end="")
    return 0 if survey.healthy and not missing else 1


def _state_dir(config_file: str | None) -> Path:
    """The state folder that the configuration means; the usual one when the configuration cannot be read."""
    from clearml_agent_clone.config import Settings, load_settings  # noqa: PLC0415

    try:
        return load_settings(Path(config_file) if config_file else None).settings.state_dir
    except (AgentError, OSError) as error:
        print(f"clearml_agent: {error}", file=sys.stderr)
    named = os.environ.get("CLEARML_AGENT_STATE_DIR")
    return Path(named).expanduser() if named else Settings().state_dir


def _tell_missing(survey: Survey, names: list[str]) -> bool:
    """Name those that were asked for and are not there; whether there were any."""
    from clearml_agent_clone.util.names import did_you_mean  # noqa: PLC0415
    from clearml_agent_clone.worker.sight.survey import take_survey  # noqa: PLC0415

    missing = sorted(set(names) - {agent.worker_id for agent in survey.agents})
    if missing:
        known = [agent.worker_id for agent in take_survey(survey.state_dir, patience=0).agents]
        for name in missing:
            line = f"clearml_agent: ERROR: there is no agent {name} in {survey.state_dir}. {did_you_mean(name, known)}"
            print(line.rstrip(), file=sys.stderr)
    return bool(missing)
