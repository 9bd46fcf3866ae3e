"""Environments of 47 packages: found in the store, linked from uv's cache, from nothing, and two tasks at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from uv import find_uv_bin

from benchmarks.contender import Contender
from benchmarks.rig import Rig
from benchmarks.stats import Row, Samples, at_most, times_faster, within_floor
from clearml_agent_clone.environment.engines.uv import index_variables
from clearml_agent_clone.environment.indexes import from_pip

_PACKAGES = Path(__file__).resolve().parent.parent / "requirements-47.txt"
_OURS = """
import os, sys, time
from pathlib import Path
from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import EnvironmentRequest, EnvironmentSettings, build_environment, plan_environment

class Console:
    def say(self, text): print(text, file=sys.stderr)
    def write(self, data): sys.stderr.buffer.write(data)

folder, cache, packages = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]).read_text()
settings = EnvironmentSettings(cache.parent / "state", folder / "store", folder / "builds", cache, environ=dict(os.environ))
begin = time.perf_counter()
plan = plan_environment(EnvironmentRequest(Requirements(pip=packages), binary=sys.argv[4]), settings)
result = build_environment(plan, Console())
print("took", time.perf_counter() - begin, result.reused)
result.lease.release()
"""


def environment(rig: Rig) -> list[Row]:
    """All folders are on one disk; the same index for all."""
    folder = rig.options.folder / "environment"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    bench = _Bench(rig, folder)
    cold_rounds = 1 if rig.options.quick else min(rig.options.rounds, 3)
    cold: dict[str, list[float]] = {"floor": [], "ours": [], "peer": []}
    for _ in range(cold_rounds):
        cold["floor"].append(bench.bare(bench.empty_cache()))
        cold["ours"].append(bench.ours(bench.empty_cache(), keep=False)[0])
        if rig.peer is not None:
            cold["peer"].append(bench.peer(rig.peer))
    cache = folder / "cache"
    bench.bare(cache)
    bench.ours(cache, keep=False)
    warm: dict[str, list[float]] = {"floor": [], "linked": [], "stored": [], "both": []}
    notes: list[str] = []
    for _ in range(rig.options.rounds):
        warm["floor"].append(bench.bare(cache))
        warm["linked"].append(bench.ours(cache, keep=False)[0])
        warm["stored"].append(bench.ours(cache, keep=True)[0])
        seconds, built = bench.two_at_once(cache)
        warm["both"].append(seconds)
        if built != 1:
            notes.append(f"built {built} times")
    shutil.rmtree(folder, ignore_errors=True)
    bare = "the bare `uv venv` and `uv pip sync`"
    return [
        Row(
            "47 packages, nothing in the cache",
            "s",
            ours=Samples.of(cold["ours"]),
            peer=Samples.of(cold["peer"]) if cold["peer"] else None,
            floor=Samples.of(cold["floor"]),
            floor_is=bare,
            targets=(within_floor(1.15), times_faster(4)),
            notes=("the peer's is from `execute` to the first line, less the same without packages",),
        ),
        Row(
            "47 packages, linked from the cache",
            "s",
            ours=Samples.of(warm["linked"]),
            floor=Samples.of(warm["floor"]),
            floor_is=bare,
            targets=(within_floor(1.3),),
        ),
        Row("47 packages, in the store", "s", ours=Samples.of(warm["stored"]), targets=(at_most(0.3, "s"),)),
        Row(
            "the same environment for two tasks at once",
            "s",
            ours=Samples.of(warm["both"]),
            floor=Samples.of(warm["linked"]),
            floor_is="our build for one task",
            targets=(within_floor(1.5),),
            notes=tuple(notes) or ("each time one built it and the other waited",),
        ),
    ]


class _Bench:
    def __init__(self, rig: Rig, folder: Path) -> None:
        self._rig = rig
        self._folder = folder
        self._number = 0
        self._program = folder / "ours.py"
        self._program.write_text(_OURS)

    def _new(self, name: str) -> Path:
        self._number += 1
        return self._folder / f"{name}{self._number}"

    def empty_cache(self) -> Path:
        return self._new("cache")

    def bare(self, cache: Path) -> float:
        """Seconds of uv alone."""
        uv, venv = find_uv_bin(), self._new("bare")
        environ = self._rig.ours.environ()
        # We ask the indexes that pip is configured with; so that both ask the same ones, uv is told of them.
        environ = {**environ, **index_variables(from_pip(environ)[0]), "UV_CACHE_DIR": str(cache)}
        begin = time.perf_counter()
        _run([uv, "--quiet", "venv", "--python", str(self._base), str(venv)], environ)
        _run([uv, "--quiet", "pip", "sync", "--python", str(venv / "bin" / "python"), str(_PACKAGES)], environ)
        taken = time.perf_counter() - begin
        shutil.rmtree(venv)
        return taken

    @property
    def _base(self) -> Path:
        return self._rig.ours.python.resolve()

    def _command(self, folder: Path, cache: Path) -> list[str]:
        python = self._rig.ours.python
        return [str(python), str(self._program), str(folder), str(cache), str(_PACKAGES), str(self._base)]

    def ours(self, cache: Path, *, keep: bool) -> tuple[float, bool]:
        """Seconds until the environment is ready, and whether it was there; in a new store unless ``keep``."""
        folder = self._folder / "kept" if keep else self._new("ours")
        if keep and not folder.exists():
            _run(self._command(folder, cache), self._rig.ours.environ())
        taken = _took(_run(self._command(folder, cache), self._rig.ours.environ()))
        if not keep:
            shutil.rmtree(folder)
        return taken

    def two_at_once(self, cache: Path) -> tuple[float, int]:
        """Seconds until both have it, and how many of them built it."""
        folder = self._new("both")
        environ = self._rig.ours.environ()
        pair = [
            subprocess.Popen(
                self._command(folder, cache), env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            for _ in range(2)
        ]
        said = [_took(process.communicate()[0]) for process in pair]
        shutil.rmtree(folder)
        return max(seconds for seconds, _ in said), sum(not reused for _, reused in said)

    def peer(self, peer: Contender) -> float:
        """Seconds that packages add to a task of the classic agent when nothing is cached."""
        return self._execute(peer, "packages.py", _PACKAGES.read_text()) - self._execute(peer, "plain.py", "")

    def _execute(self, peer: Contender, script: str, requirements: str) -> float:
        for place in (".cache", ".clearml"):
            shutil.rmtree(peer.home / place, ignore_errors=True)
        task = self._rig.create(script, requirements)
        begin = time.time()
        log = peer.home / "execute.log"
        with log.open("wb") as output:
            done = subprocess.run(
                [*peer.program, "execute", "--id", task], env=peer.environ(), cwd=peer.home, stdin=subprocess.DEVNULL,
                stdout=output, stderr=output, check=False,
            )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the peer failed to run a task, see {log}")
        return self._rig.mark(task, "first") - begin


def _run(argv: list[str], environ: dict[str, str]) -> str:
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, cwd=os.sep)
    if done.returncode:
        raise RuntimeError(f"{Path(argv[0]).name} failed: {done.stderr[-2000:]}")
    return done.stdout


def _took(output: str) -> tuple[float, bool]:
    line = next(line for line in output.splitlines() if line.startswith("took "))
    _, seconds, reused = line.split()
    return float(seconds), reused == "True"
