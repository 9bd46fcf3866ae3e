"""``clearml-agent cache``: what is kept on this machine for later tasks, and how to get rid of it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clearml_agent_clone.errors import AgentError

if TYPE_CHECKING:
    from clearml_agent_clone.config import Settings
    from clearml_agent_clone.environment import EnvironmentSettings
    from clearml_agent_clone.util.kept import Kept

KINDS = ("environment", "mirror", "download", "tool")
_DAY = 86400.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser(
        "cache",
        help="list or remove what is kept on this machine: environments, repositories, downloads",
        description="List or remove what is kept on this machine for later tasks. What a task uses is never removed. "
        "Needs no server.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    shown = actions.add_parser("list", help="show it", description="Show what is kept, and who uses it now.")
    shown.add_argument("--json", action="store_true", help="print JSON, for programs")
    cleaned = actions.add_parser(
        "clean",
        help="remove it",
        description="Remove what interrupted work has left, environments beyond the limits of the configuration "
        "(agent.venvs_cache), and downloads that nothing needs any more; with --older-than or --all more than that.",
    )
    which = cleaned.add_mutually_exclusive_group()
    which.add_argument(
        "--older-than", type=_days, metavar="DAYS", help="also remove what has not been used for that long"
    )
    which.add_argument("--all", action="store_true", help="also remove all else that no task uses")
    cleaned.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    for each in (shown, cleaned):
        each.add_argument("kinds", nargs="*", metavar="KIND", help=f"only these: {', '.join(KINDS)}")
    parser.set_defaults(run=run, refuse=parser.error)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    import os  # noqa: PLC0415 - only when it runs

    from clearml_agent_clone.config import load_settings  # noqa: PLC0415
    from clearml_agent_clone.environment import EnvironmentSettings  # noqa: PLC0415

    kinds = [kind.removesuffix("s") for kind in arguments.kinds]
    for kind in kinds:
        if kind not in KINDS:
            arguments.refuse(f'there is no kind "{kind}", only {", ".join(KINDS)}')
    settings = load_settings(Path(arguments.config_file) if arguments.config_file else None).settings
    environments = EnvironmentSettings.from_settings(settings, os.environ)
    if arguments.action == "clean":
        return _clean(arguments, settings, environments, kinds)
    found = _inventory(settings, environments, kinds)
    if arguments.json:
        import json  # noqa: PLC0415

        print(json.dumps([_as_json(kept) for kept in found], indent=2))
    else:
        print(_as_text(found), end="")
    return 0


def _inventory(settings: Settings, environments: EnvironmentSettings, kinds: Sequence[str]) -> list[Kept]:
    from clearml_agent_clone.environment.inventory import inventory  # noqa: PLC0415
    from clearml_agent_clone.source.inventory import inventory as mirrors  # noqa: PLC0415

    found = [*inventory(environments), *mirrors(settings.agent.vcs_cache.path, settings.state_dir / "runs")]
    found = [kept for kept in found if not kinds or kept.kind in kinds]
    return sorted(found, key=lambda kept: (KINDS.index(kept.kind), -kept.last_use))


def _clean(
    arguments: argparse.Namespace, settings: Settings, environments: EnvironmentSettings, kinds: Sequence[str]
) -> int:
    failed = False
    limit = 0.0 if arguments.all else arguments.older_than * _DAY if arguments.older_than is not None else None
    for kept in _inventory(settings, environments, kinds):
        old = limit is not None and time.time() - kept.last_use >= limit
        if kept.users or not (kept.left or old):
            continue
        if arguments.dry_run:
            print(f"would remove {kept.kind} {kept.key} ({_size(kept.size)})")
            continue
        try:
            gone = kept.remove()
        except AgentError as error:
            print(f"clearml_agent: ERROR: {error}", file=sys.stderr)
            failed = True
            continue
        print(f"removed {kept.kind} {kept.key} ({_size(kept.size)})" if gone else f"{kept.kind} {kept.key} is in use")
    if not arguments.dry_run:
        failed = _tidy(environments, kinds, downloads=limit is None) or failed
    return 1 if failed else 0


def _tidy(environments: EnvironmentSettings, kinds: Sequence[str], *, downloads: bool) -> bool:
    """Remove what is too much by the configuration; whether something went wrong."""
    from clearml_agent_clone.environment.downloads import clean  # noqa: PLC0415
    from clearml_agent_clone.environment.inventory import tidy  # noqa: PLC0415

    try:
        if not kinds or "environment" in kinds:
            for name in tidy(environments):
                print(f"removed environment {name}")
        if downloads and (not kinds or "download" in kinds):
            clean(environments, everything=False)
    except AgentError as error:
        print(f"clearml_agent: ERROR: {error}", file=sys.stderr)
        return True
    return False


def _as_json(kept: Kept) -> dict[str, object]:
    return {
        "kind": kept.kind,
        "key": kept.key,
        "path": str(kept.path),
        "bytes": kept.size,
        "last_use": kept.last_use,
        "in_use_by": list(kept.users),
        "left_by_interrupted_work": kept.left,
        **kept.details,
    }


def _as_text(found: Sequence[Kept]) -> str:
    """A table, and what all of it comes to."""
    if not found:
        return "Nothing is kept.\n"
    rows = [("KIND", "KEY", "SIZE", "LAST USE", "PACKAGES", "IN USE BY")]
    for kept in found:
        number = kept.details.get("number_of_packages")
        users = ", ".join(kept.users) or ("nobody (left by interrupted work)" if kept.left else "nobody")
        rows.append(
            (kept.kind, kept.key, _size(kept.size), _age(kept.last_use), "" if number is None else str(number), users)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    total = _size(sum(kept.size for kept in found))
    return (
        "\n".join([*lines, f"{len(found)} in all, {total}; files that environments and downloads share count twice."])
        + "\n"
    )


def _size(number: float) -> str:
    for unit in ("B", "KB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def _age(since: float) -> str:
    seconds = max(time.time() - since, 0.0)
    for unit, length in (("d", _DAY), ("h", 3600.0), ("min", 60.0)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"


def _days(text: str) -> float:
    value = float(text)
    if value < 0:
        raise ValueError(text)
    return value
