"""Install conda packages by py-rattler, in a process of its own: it can be ended at any time and takes its memory along.

Reads what to do as JSON from stdin, says on stderr what it is doing, and writes what came of it as JSON to stdout.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import rattler
from rattler import exceptions

_SHOWN = 5
_STEPS = 10


def main() -> None:
    """Do what stdin says."""
    asked = json.load(sys.stdin)
    json.dump(asyncio.run(_install(asked)), sys.stdout)
    sys.stdout.flush()
    # Threads of the library may still be at a request that nobody waits for; they crash an interpreter that ends.
    os._exit(0)


async def _install(asked: dict[str, Any]) -> dict[str, Any]:
    cache = Path(asked["cache"])
    client = rattler.Client([rattler.networking.RetryMiddleware(), rattler.networking.AuthenticationMiddleware()])
    gateway = rattler.Gateway(cache_dir=cache / "repodata", client=client)
    channels = [rattler.Channel(url) for url in asked["channels"]]
    prefix = Path(asked["prefix"])
    there = [rattler.PrefixRecord.from_path(file) for file in sorted((prefix / "conda-meta").glob("*.json"))]
    specs = {}
    for name, text in ((spec["name"], spec["text"]) for spec in asked["specs"]):
        try:
            specs[name] = rattler.MatchSpec(text)
        except exceptions.InvalidMatchSpecError as error:  # noqa: PERF203 - which one it was has to be said
            return {"kind": "spec", "text": f'the package "{text}" is not understood: {error}'}
    kept = [rattler.MatchSpec(record.name.normalized) for record in there if record.name.normalized not in specs]
    _say(f"Looking for {_number(len(specs), 'package')} in {_number(len(channels), 'channel')}")
    note = ""
    try:
        try:
            records = await _solve(channels, [*specs.values(), *kept], gateway, there, rattler.ChannelPriority.Strict)
        except exceptions.SolverError:
            loose = rattler.ChannelPriority.Disabled
            records = await _solve(channels, [*specs.values(), *kept], gateway, there, loose)
            note = "no channel alone has what goes together: packages are taken from all of them"
    except exceptions.SolverError as error:
        found = await gateway.query(channels, _platforms(), list(specs), recursive=False)
        return {"kind": "unsatisfiable", "text": str(error), **_lacking(specs, [one for some in found for one in some])}
    except exceptions.GatewayError as error:
        return {"kind": "gateway", "text": str(error)}
    try:
        await rattler.install(
            records,
            prefix,
            cache_dir=cache / "packages",
            client=client,
            reporter=Progress(),  # type: ignore[abstract] # its methods have nothing in them but are not meant to be
            execute_link_scripts=True,
        )
    except (exceptions.InstallerError, OSError) as error:
        return {"kind": "install", "text": str(error)}
    return {"kind": "ok", "note": note}


def _platforms() -> list[Any]:
    return [rattler.Subdir.current(), rattler.Subdir("noarch")]


async def _solve(channels: list[Any], specs: list[Any], gateway: Any, there: list[Any], priority: Any) -> list[Any]:
    overrides = rattler.VirtualPackageOverrides.from_env()
    return await rattler.solve(
        channels,
        specs,
        gateway=gateway,
        locked_packages=there,
        virtual_packages=rattler.VirtualPackage.detect(overrides),
        channel_priority=priority,
    )


def _lacking(specs: dict[str, Any], records: list[Any]) -> dict[str, Any]:
    """Which packages the channels do not have, and of which they have only others."""
    absent, unmatched = [], {}
    for name, spec in specs.items():
        named = [record for record in records if record.name.normalized == name]
        if not named:
            absent.append(name)
        elif not any(spec.matches(record) for record in named):
            versions = sorted({record.version for record in named})
            unmatched[name] = ", ".join(str(version) for version in versions[-_SHOWN:])
    return {"absent": absent, "unmatched": unmatched}


class Progress(rattler.InstallerReporter):
    """Says how far the installation is, in about ten lines."""

    def __init__(self) -> None:
        self.total = self.linked = self.fetched = 0

    def on_transaction_start(self, total_operations: int) -> None:
        """Say how much there is to do."""
        self.total = total_operations
        _say(f"Installing {total_operations} packages")

    def on_download_completed(self, download_idx: int) -> None:  # noqa: ARG002 - the caller's
        """Count the downloads."""
        self.fetched += 1
        if self.fetched % max(self.total // _STEPS, 1) == 0:
            _say(f"  {self.fetched} packages downloaded")

    def on_link_complete(self, index: int) -> None:  # noqa: ARG002 - the caller's
        """Count what is in place."""
        self.linked += 1
        if self.linked % max(self.total // _STEPS, 1) == 0:
            _say(f"  {self.linked} of {self.total} packages installed")


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    main()
