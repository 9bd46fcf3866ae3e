"""Fixtures and helpers for all tests of the source room; its conftests hand all of them on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clearml_agent_clone.api.types import Script
from clearml_agent_clone.source import SourceResult, SourceSettings, fetch_source, plan_source
from clearml_agent_clone.util.process import Cancel
from tests.helpers.consoles import Recorder
from tests.helpers.git_http import GitHost, serve
from tests.helpers.git_tools import Upstream

Fetch = Callable[..., SourceResult]

__all__ = [
    "Fetch",
    "GitHost",
    "Recorder",
    "Upstream",
    "console",
    "fetch",
    "git_host",
    "plain_git",
    "settings",
    "template",
    "upstream",
]


@pytest.fixture(scope="session", autouse=True)
def plain_git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No configuration of whoever runs the tests; the home folder that git sees."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n[core]\n\tfsync = none\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "CLEARML_", "TRAINS_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield home


@pytest.fixture(scope="session")
def template(plain_git: Path, tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    repository = Upstream.new(tmp_path_factory.mktemp("template") / "project")
    repository.write("train.py", "import model\nprint(model.answer())\n")
    repository.write("model.py", "def answer():\n    return 42\n")
    repository.write("tools/make.sh", "echo made\n")
    repository.commit("first")
    return repository


@pytest.fixture
def upstream(template: Upstream, tmp_path: Path) -> Upstream:
    """A repository with one commit on ``main``."""
    path = tmp_path / "upstream" / "project"
    shutil.copytree(template.path, path, symlinks=True)
    return Upstream(path)


@pytest.fixture
def settings(tmp_path: Path) -> SourceSettings:
    return SourceSettings(vcs_cache_path=tmp_path / "cache", allow_local=True, attempts=1)


@pytest.fixture
def console() -> Recorder:
    return Recorder()


@pytest.fixture
def fetch(tmp_path: Path, settings: SourceSettings, console: Recorder) -> Fetch:
    """Plan and fetch a script given by its fields, each time into a new folder."""
    count = 0

    def fetch(given: SourceSettings | None = None, *, cancel: Cancel | None = None, **fields: str) -> SourceResult:
        nonlocal count
        count += 1
        script = Script(**{"entry_point": "train.py", **fields})  # type: ignore[arg-type] # all of them are texts
        plan = plan_source(script, given or settings)
        return fetch_source(plan, tmp_path / f"run{count}", console, cancel)

    return fetch


@pytest.fixture
def git_host(tmp_path: Path, upstream: Upstream) -> Iterator[GitHost]:
    """Serves all that is in the upstream's folder."""
    with serve(upstream.path.parent) as host:
        yield host
