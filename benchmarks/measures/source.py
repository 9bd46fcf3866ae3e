"""A task's code: the first clone of a repository, and its tree for the next task."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.contender import Contender
from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, times_faster, within_floor

_COMMITS = 50
_SIZE = 1 << 20
_FILES = 400

_OURS = """
import json, sys, time
from pathlib import Path
from clearml_agent_clone.api.types import Script
from clearml_agent_clone.source import SourceSettings, fetch_source, plan_source

class Console:
    def say(self, text): pass
    def write(self, data): pass

url, commit, cache, places = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4:]
settings = SourceSettings(vcs_cache_path=cache, allow_local=True)
for place in places:
    begin = time.perf_counter()
    plan = plan_source(Script(repository=url, version_num=commit, entry_point="file0.txt"), settings)
    fetch_source(plan, Path(place), Console())
    print("took", time.perf_counter() - begin)
"""

_PEER = """
import sys, time, types
from pathlib import Path
from clearml_agent.helper.repo import clone_repository_cached
from clearml_agent.session import Session

url, commit, cache, places = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
session = Session()
session.config.put("agent.vcs_cache.path", cache)
wanted = types.SimpleNamespace(repository=url, version_num=commit, branch="main", tag="", docker_cmd=None)
for place in places:
    begin = time.perf_counter()
    clone_repository_cached(session, wanted, Path(place))
    print("took", time.perf_counter() - begin)
"""


def source(rig: Rig) -> list[Row]:
    """A repository of 50 MB of history and 400 files; folders are on one disk for all, the cache is warm for all."""
    folder = rig.options.folder / "source"
    shutil.rmtree(folder, ignore_errors=True)
    upstream = _make(folder / "upstream")
    bench = _Bench(rig, folder, upstream)
    first: dict[str, list[float]] = {"ours": [], "peer": [], "floor": []}
    for number in range(rig.options.rounds):
        first["floor"].append(bench.clone(number))
        for contender in rig.contenders:
            first[contender.name].append(
                bench.agent(contender, f"first{number}", [f"{contender.name}-first{number}"])[0]
            )
    later: dict[str, list[float]] = {"floor": bench.worktrees(rig.options.rounds + 1)[1:]}
    for contender in rig.contenders:
        places = [f"{contender.name}-later{number}" for number in range(rig.options.rounds + 1)]
        later[contender.name] = bench.agent(contender, "first0", places)[1:]
    shutil.rmtree(folder, ignore_errors=True)
    return [
        Row(
            "first clone of a repository, 50 MB of history",
            "s",
            ours=Samples.of(first["ours"]),
            peer=Samples.of(first["peer"]) if rig.peer else None,
            floor=Samples.of(first["floor"]),
            floor_is="the bare `git clone`",
            targets=(within_floor(1.1),),
        ),
        Row(
            "tree for the second task of that repository",
            "s",
            ours=Samples.of(later["ours"]),
            peer=Samples.of(later["peer"]) if rig.peer else None,
            floor=Samples.of(later["floor"]),
            floor_is="the bare `git worktree add`",
            targets=(within_floor(2.0), times_faster(5)),
        ),
    ]


class _Bench:
    def __init__(self, rig: Rig, folder: Path, upstream: Path) -> None:
        self._rig = rig
        self._folder = folder
        self._url = upstream.as_uri()
        self._commit = _git(upstream, "rev-parse", "HEAD")
        self._programs = {"ours": folder / "ours.py", "peer": folder / "peer.py"}
        for name, text in (("ours", _OURS), ("peer", _PEER)):
            self._programs[name].write_text(text)

    def clone(self, number: int) -> float:
        begin = time.perf_counter()
        _git(self._folder, "clone", "--quiet", "--no-local", self._url, str(self._folder / f"bare{number}"))
        return time.perf_counter() - begin

    def worktrees(self, count: int) -> list[float]:
        """Seconds of each ``git worktree add`` from a clone."""
        taken = []
        for number in range(count):
            begin = time.perf_counter()
            place = str(self._folder / f"tree{number}")
            _git(self._folder / "bare0", "worktree", "add", "--quiet", "--detach", place, self._commit)
            taken.append(time.perf_counter() - begin)
        return taken

    def agent(self, contender: Contender, cache: str, places: list[str]) -> list[float]:
        """Seconds that the agent takes for each of ``places``, as its own process of a task counts them."""
        kept = self._folder / f"{contender.name}-cache-{cache}"
        kept.mkdir(exist_ok=True)
        command = [str(contender.python), str(self._programs[contender.name]), self._url, self._commit, str(kept)]
        done = subprocess.run(
            [*command, *(str(self._folder / place) for place in places)],
            env=contender.environ(), cwd=self._folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{contender.name} fetched nothing: {done.stderr[-2000:]}")
        return [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("took ")]


def _make(folder: Path) -> Path:
    """The repository: each commit replaces a file of a megabyte that cannot be compressed."""
    folder.mkdir(parents=True)
    _git(folder, "init", "--quiet", "--initial-branch=main")
    stream = bytearray()
    for number in range(_COMMITS):
        stream += f"commit refs/heads/main\ncommitter Ada <ada@example.org> {1_700_000_000 + number} +0000\n".encode()
        stream += b"data 6\nchange\n"
        stream += b"M 100644 inline data.bin\ndata %d\n" % _SIZE + os.urandom(_SIZE) + b"\n"
        for name in range(_FILES if number == 0 else 0):
            text = json.dumps({"number": name, "text": "x" * 2000}).encode()
            stream += b"M 100644 inline file%d.txt\ndata %d\n" % (name, len(text)) + text + b"\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=folder, input=bytes(stream), check=True)
    return folder


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
