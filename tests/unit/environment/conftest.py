"""Wheels made on the spot, and environments built from them by the real uv and pip, without a network."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api.types import Requirements
from clearml_agent_clone.environment import (
    EnvironmentRequest,
    EnvironmentResult,
    EnvironmentSettings,
    build_environment,
    plan_environment,
)
from clearml_agent_clone.util.process import Cancel
from tests.helpers.consoles import Recorder

Build = Callable[..., EnvironmentResult]


@pytest.fixture
def console() -> Recorder:
    return Recorder()


def make_wheel(folder: Path, name: str, version: str, *requires: str, script: bool = False) -> Path:
    """A wheel with one module that knows its version, and maybe a console script of the package's name."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {
        f"{name}.py": f"VERSION = {version!r}\n\ndef main():\n    print(VERSION)\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{name} = {name}:main\n"
    record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return wheel


def _digest(content: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def links(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of wheels: alpha 1.0 and 2.0, beta (needs alpha 2), tool (has a program)."""
    folder = tmp_path_factory.mktemp("links")
    make_wheel(folder, "alpha", "1.0")
    make_wheel(folder, "alpha", "2.0")
    make_wheel(folder, "beta", "1.0", "alpha>=2.0")
    make_wheel(folder, "tool", "1.0", script=True)
    return folder


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, so that pip is unpacked once."""
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is known of interpreters, for tests that only plan: asking one takes longer than they do."""
    return tmp_path_factory.mktemp("memory")


@pytest.fixture
def settings(tmp_path: Path, links: Path, uv_cache: Path) -> EnvironmentSettings:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(links),
    }
    return EnvironmentSettings(
        state_dir=tmp_path / "state",
        store_dir=tmp_path / "store",
        builds_dir=tmp_path / "builds",
        uv_cache_dir=uv_cache,
        environ=environ,
    )


@pytest.fixture
def build(settings: EnvironmentSettings, console: Recorder) -> Iterator[Build]:
    """Plan and build in one call; changed settings and parts of the request by keyword. Leases end with the test."""
    results: list[EnvironmentResult] = []

    def call(pip: str | None = None, cancel: Cancel | None = None, **more: Any) -> EnvironmentResult:
        mine = attrs.evolve(settings, **{key: value for key, value in more.items() if hasattr(settings, key)})
        rest = {key: value for key, value in more.items() if not hasattr(settings, key)}
        request = EnvironmentRequest(**{"requirements": Requirements(pip=pip), "task_id": "t1", **rest})
        results.append(build_environment(plan_environment(request, mine), console, cancel))
        return results[-1]

    yield call
    for result in results:
        if result.lease is not None:
            result.lease.release()
