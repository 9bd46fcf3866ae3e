"""Measure this agent and the classic one, in turn, against the same server.

``python -m benchmarks`` prints a table and leaves ``.bench/results.json``. Figures of one run are comparable with
each other and with nothing else: machines differ, and so does the same machine from hour to hour.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import time
from pathlib import Path

from filelock import FileLock

from benchmarks.contender import end_all, make_ours, make_peer
from benchmarks.measures import MEASURES
from benchmarks.report import table, write
from benchmarks.rig import Options, Rig
from benchmarks.server import Server
from benchmarks.stats import Row

_FOLDER = Path(__file__).resolve().parent.parent / ".bench"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="run just this one; may be repeated")
    parser.add_argument("--rounds", type=int, help="counted runs of each agent (default 5, with --quick 2)")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, fewer lines, a shorter look at idleness")
    parser.add_argument("--no-peer", action="store_true", help="leave the classic agent out")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    options = Options(arguments.rounds or (2 if arguments.quick else 5), arguments.quick, _FOLDER)
    _FOLDER.mkdir(exist_ok=True)
    with FileLock(_FOLDER / "lock"):  # two at a time would measure, and stop, each other
        return _run(options, arguments)


def _run(options: Options, arguments: argparse.Namespace) -> int:
    print("setting up both agents in .bench/ ...", file=sys.stderr)
    ours = make_ours(_FOLDER)
    peer = None if arguments.no_peer else make_peer(_FOLDER)
    everyone = [one for one in (ours, peer) if one is not None]
    rows: list[Row] = []
    failed = False
    data = _FOLDER / "server"
    shutil.rmtree(data, ignore_errors=True)
    with contextlib.ExitStack() as stack:
        for one in everyone:
            stack.callback(end_all, one.home)
        server = stack.enter_context(Server(ours, data))
        for one in everyone:
            one.configure(server.conf)
        rig = Rig(options, ours, peer, server, server.watcher())
        rig.prepare()
        for name in arguments.only or MEASURES:
            started = time.monotonic()
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                rows += MEASURES[name](rig)
            except RuntimeError as error:  # the other measurements are still worth having
                print(f"{name} failed: {error}", file=sys.stderr)
                failed = True
            print(f"{name} took {time.monotonic() - started:.0f} s", file=sys.stderr)
        versions = {one.name: one.version() for one in everyone}
    print("\n" + table(rows))
    write(_FOLDER / "results.json", rows, versions)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
