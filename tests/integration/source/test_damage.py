"""Tasks of two agents at once, kills at any moment, a disk that is full: submodules and large files included."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.errors import Retryable
from clearml_agent_clone.source import SourceSettings
from tests.helpers.git_http import GitHost
from tests.helpers.source_task import task

from .conftest import Fetch, Upstream

CONTENT = b"weights" * 5000


@pytest.fixture
def settings(settings: SourceSettings, request: pytest.FixtureRequest) -> SourceSettings:
    """With the filter of a partial clone as parameter."""
    return attrs.evolve(settings, clone_filter=getattr(request, "param", ""))


@pytest.fixture
def whole(git_host: GitHost, upstream: Upstream) -> str:
    """A commit with a submodule and, where git-lfs is, a large file."""
    library = Upstream.new(upstream.path.parent / "library")
    library.write("lib.py", "x = 1\n")
    commit = library.commit()
    if shutil.which("git-lfs"):
        upstream.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n")
        upstream.write("model.bin", git_host.add_large(CONTENT))
    upstream.write("data.txt", os.urandom(300_000).hex())
    upstream.write(".gitmodules", '[submodule "library"]\n\tpath = library\n\turl = ../library\n')
    upstream.git("add", ".")
    upstream.git("update-index", "--add", "--cacheinfo", f"160000,{commit},library")
    upstream.git("commit", "--quiet", "--message", "whole")
    return upstream.git("rev-parse", "HEAD")


def assert_whole(root: Path) -> None:
    assert (root / "library/lib.py").read_text() == "x = 1\n"
    large = root / "model.bin"
    assert not large.exists() or large.read_bytes() == CONTENT
    assert Upstream(root).git("status", "--porcelain") == ""


def test_ten_tasks_of_two_agents_fetch_once(
    git_host: GitHost, whole: str, settings: SourceSettings, tmp_path: Path
) -> None:
    """Two agents share the cache and nothing else; each repository comes over the network once."""
    tasks = [
        task(settings, tmp_path / f"agent{number % 2}" / f"run{number}", repository=git_host.url("project"),
             version_num=whole)
        for number in range(10)
    ]  # fmt: skip
    for process in tasks:
        _, errors = process.communicate(timeout=90)
        assert process.returncode == 0, errors
    assert git_host.packs == 2
    roots = [root for agent in range(2) for root in (tmp_path / f"agent{agent}").glob("run*/project")]
    assert len(roots) == 10
    for root in roots:
        assert_whole(root)


@pytest.mark.slow
@pytest.mark.parametrize("settings", ["", "blob:none"], ids=["whole", "partial"], indirect=True)
def test_a_kill_at_any_moment(
    git_host: GitHost, whole: str, settings: SourceSettings, fetch: Fetch, tmp_path: Path
) -> None:
    """The process group of the task is killed, then all that it left: the next one gets its tree without a word."""
    Upstream(git_host.root / "project").git("config", "uploadpack.allowFilter", "true")
    Upstream(git_host.root / "library").git("config", "uploadpack.allowFilter", "true")
    chance = random.Random(7)
    for number in range(8):
        if number % 2 == 0:
            shutil.rmtree(settings.vcs_cache_path, ignore_errors=True)
        process = task(settings, tmp_path / f"killed{number}", repository=git_host.url("project"), version_num=whole)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.3, 1.3))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert_whole(fetch(repository=git_host.url("project"), version_num=whole).root)


def test_a_damaged_large_file_is_loaded_again(
    git_host: GitHost, whole: str, settings: SourceSettings, fetch: Fetch
) -> None:
    if not git_host.large:
        pytest.skip("there is no git-lfs")
    fetch(repository=git_host.url("project"), version_num=whole)
    [kept] = [file for file in settings.vcs_cache_path.rglob("lfs/objects/*/*/*") if file.is_file()]
    kept.chmod(0o644)
    kept.write_bytes(CONTENT[:100])
    assert_whole(fetch(repository=git_host.url("project"), version_num=whole).root)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_is_full_and_then_is_not(
    upstream: Upstream, settings: SourceSettings, fetch: Fetch, small_disk: Path
) -> None:
    first = fetch(attrs.evolve(settings, vcs_cache_path=small_disk / "cache"), repository=str(upstream.path)).commit
    upstream.write("data.bin", os.urandom(3_000_000))
    commit = upstream.commit("large")
    mine = attrs.evolve(settings, vcs_cache_path=small_disk / "cache")
    for _ in range(2):
        with pytest.raises(Retryable) as caught:
            fetch(mine, repository=str(upstream.path), version_num=commit)
        assert caught.value.code == "disk-full"
    assert fetch(mine, repository=str(upstream.path), version_num=first).commit == first  # what was here is whole
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert fetch(mine, repository=str(upstream.path), version_num=commit).commit == commit
