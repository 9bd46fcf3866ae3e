"""One mirror for many tasks: at the same time, after a kill, and when it is damaged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.errors import Cancelled, Fatal, Retryable
from clearml_agent_clone.source import SourceSettings, checkout
from clearml_agent_clone.source.checkout import Layout
from clearml_agent_clone.util.process import Cancel
from tests.helpers.source_task import task

from .conftest import Fetch, GitHost, Recorder, Upstream
from .test_fetch import mirror_of


def test_ten_tasks_at_the_same_time_clone_once(
    git_host: GitHost, settings: SourceSettings, upstream: Upstream, tmp_path: Path
) -> None:
    commit = upstream.git("rev-parse", "HEAD")
    git_host.gate.clear()
    fields: list[dict[str, str]] = [{"version_num": commit}, {"branch": "main"}, {"version_num": commit[:12]}]
    tasks = [
        task(settings, tmp_path / f"task{number}", repository=git_host.url("project"), **fields[number % 3])
        for number in range(10)
    ]
    git_host.waiting.wait(30)
    threading.Timer(1.0, git_host.gate.set).start()  # time for most of them to stand at the lock
    for process in tasks:
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert output == f"{commit} import model\nprint(model.answer())\n"
    assert git_host.packs == 1
    Upstream(mirror_of(settings)).git("fsck", "--strict")


@pytest.mark.parametrize("first", [True, False], ids=["clone", "fetch"])
def test_a_kill_in_the_midst_of_a_transfer(
    git_host: GitHost, settings: SourceSettings, fetch: Fetch, tmp_path: Path, *, first: bool
) -> None:
    url = git_host.url("project")
    upstream = Upstream(git_host.root / "project")
    if not first:
        fetch(repository=url)
    for number in range(50):
        upstream.write(f"data/{number}.bin", os.urandom(20_000))
    commit = upstream.commit()
    git_host.gate.clear()
    git_host.waiting.clear()
    process = task(settings, tmp_path / "killed", repository=url, version_num=commit)
    assert git_host.waiting.wait(30)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    git_host.gate.set()  # the orphaned git may go on while the next task fetches
    result = fetch(repository=url, version_num=commit)
    assert (result.root / "data/49.bin").stat().st_size == 20_000
    mirror = mirror_of(settings)
    assert not list(mirror.parent.glob("incoming-*"))
    Upstream(result.root).git("fsck", "--strict")


def stop_at_random(folder: Path, settings: SourceSettings, url: str, commit: str, after: float) -> None:
    process = task(settings, folder, repository=url, version_num=commit)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_a_kill_anywhere(settings: SourceSettings, fetch: Fetch, upstream: Upstream, tmp_path: Path) -> None:
    """Kills at all points of clones and fetches; each time the next task gets its tree."""
    url = str(upstream.path)
    for number in range(20):
        if number % 3 == 0:
            shutil.rmtree(settings.vcs_cache_path, ignore_errors=True)
        for name in range(10):
            upstream.write(f"data/{name}.bin", os.urandom(100_000))
        commit = upstream.commit()
        stop_at_random(tmp_path / f"killed{number}", settings, url, commit, 0.15 + number * 0.03)
        assert fetch(repository=url, version_num=commit).commit == commit
    Upstream(mirror_of(settings)).git("fsck", "--strict")


Damage = Callable[[Path], None]


def packs(mirror: Path) -> list[Path]:
    return sorted((mirror / "objects/pack").glob("*.pack"))


def cut_pack(mirror: Path) -> None:
    [pack] = packs(mirror)
    pack.chmod(0o644)
    pack.write_bytes(pack.read_bytes()[:60])


def flip_commit(mirror: Path) -> None:
    """The newest commit stands first in a pack, after a head of twelve bytes."""
    [pack] = packs(mirror)
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[16:40] = bytes(24)
    pack.write_bytes(data)


def flip_blob(mirror: Path) -> None:
    """A file's content stands last, before the checksum of twenty bytes; the commit itself is readable."""
    [pack] = packs(mirror)
    pack.chmod(0o644)
    data = bytearray(pack.read_bytes())
    data[-36:-20] = bytes(16)
    pack.write_bytes(data)


def empty_index(mirror: Path) -> None:
    for index in (mirror / "objects/pack").glob("*.idx"):
        index.chmod(0o644)
        index.write_bytes(b"")


def no_objects(mirror: Path) -> None:
    shutil.rmtree(mirror / "objects")


def no_head(mirror: Path) -> None:
    (mirror / "HEAD").unlink()


def empty_head(mirror: Path) -> None:
    (mirror / "HEAD").write_bytes(b"")


def bad_config(mirror: Path) -> None:
    (mirror / "config").write_bytes(b"\x00\x00[[[")


def empty_refs(mirror: Path) -> None:
    (mirror / "packed-refs").write_bytes(b"garbage\n")


@pytest.mark.parametrize("exact", [True, False], ids=["commit", "branch"])
@pytest.mark.parametrize(
    "damage",
    [cut_pack, flip_commit, flip_blob, empty_index, no_objects, no_head, empty_head, bad_config, empty_refs],
    ids=lambda f: f.__name__,
)
def test_a_damaged_mirror_heals(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, damage: Damage, *, exact: bool
) -> None:
    commit = upstream.git("rev-parse", "HEAD")
    fields = {"version_num": commit} if exact else {"branch": "main"}
    fetch(repository=str(upstream.path), **fields)
    damage(mirror_of(settings))
    result = fetch(repository=str(upstream.path), **fields)
    assert result.commit == commit
    assert (result.root / "train.py").exists()
    assert Upstream(result.root).git("status", "--porcelain") == ""
    upstream.commit("later")
    assert fetch(repository=str(upstream.path), branch="main").commit == upstream.git("rev-parse", "HEAD")
    Upstream(mirror_of(settings)).git("fsck")


def test_a_damaged_commit_is_not_taken_for_one_that_was_never_pushed(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings
) -> None:
    old = upstream.git("rev-parse", "HEAD")
    upstream.commit("newer")
    fetch(repository=str(upstream.path))
    mirror = mirror_of(settings)
    [pack] = packs(mirror)
    listing = Upstream(mirror).git("verify-pack", "--verbose", str(pack)).splitlines()
    offset = next(int(line.split()[4]) for line in listing if line.startswith(old))
    data = bytearray(pack.read_bytes())
    data[offset + 6 : offset + 40] = bytes(34)
    pack.chmod(0o644)
    pack.write_bytes(data)
    assert fetch(repository=str(upstream.path), version_num=old[:10]).commit == old


def test_locks_of_a_git_that_was_killed(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clearml_agent_clone.source.transfer._LOCK_PAUSE", 0.01)
    fetch(repository=str(upstream.path))
    mirror = mirror_of(settings)
    commit = upstream.commit()
    for name in ("packed-refs.lock", "refs/remotes/origin/main.lock", "config.lock"):
        path = mirror / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (mirror / "objects/pack/tmp_pack_old").write_bytes(b"x")
    result = fetch(repository=str(upstream.path), branch="main")
    assert result.commit == commit
    assert Upstream(result.root).git("rev-parse", "origin/main") == commit
    assert not (mirror / "objects/pack/tmp_pack_old").exists()


def test_a_full_disk_is_told_and_leaves_no_mirror(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, tmp_path: Path
) -> None:
    """A git that fails as on a full disk, with half a clone left behind."""
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = shutil.which("git")
    fake.write_text(
        "#!/bin/sh\n"
        f'[ "$1" = clone ] || exec {real} "$@"\n'
        'for last; do :; done; mkdir -p "$last/.git/objects"; echo HEAD > "$last/.git/HEAD"\n'
        "echo 'fatal: write error: No space left on device' >&2; exit 128\n"
    )
    fake.chmod(0o755)
    environ = {**settings.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    with pytest.raises(Retryable) as caught:
        fetch(attrs.evolve(settings, environ=environ, attempts=3), repository=str(upstream.path))
    assert caught.value.code == "disk-full"
    assert fetch(repository=str(upstream.path)).commit


def test_a_mirror_that_is_replaced_meanwhile(
    upstream: Upstream, settings: SourceSettings, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkout takes no lock: what it copied just when the mirror was away for a moment may lack branches."""
    url, commit = str(upstream.path), upstream.git("rev-parse", "HEAD")
    fetch(repository=url, version_num=commit)
    mirror, taken = mirror_of(settings), []

    def lay_out(layout: Layout, *arguments: Any, **options: Any) -> None:
        taken.append(layout)
        if len(taken) == 1:
            (mirror / "packed-refs").rename(mirror / "away")
        checkout.lay_out(layout, *arguments, **options)
        if len(taken) == 1:
            (mirror / "away").rename(mirror / "packed-refs")
            shutil.copytree(mirror, mirror.with_name("new"))
            shutil.rmtree(mirror)
            mirror.with_name("new").rename(mirror)

    monkeypatch.setattr("clearml_agent_clone.source.trees.lay_out", lay_out)
    result = fetch(repository=url, version_num=commit)
    assert len(taken) == 2
    assert Upstream(result.root).git("rev-parse", "origin/main") == commit


def test_waiting_for_another_task_can_be_given_up(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, console: Recorder
) -> None:
    from filelock import FileLock

    fetch(repository=str(upstream.path))
    commit = upstream.commit()
    cancel = Cancel()
    with FileLock(mirror_of(settings).parent / "lock"):
        timer = threading.Timer(0.5, cancel.set)
        timer.start()
        with pytest.raises(Cancelled):
            fetch(repository=str(upstream.path), version_num=commit, cancel=cancel)
    timer.join()
    assert "waiting for another task" in console.text
    assert fetch(repository=str(upstream.path), version_num=commit).commit == commit


def test_a_failure_nobody_knows_is_shown_as_it_is(
    upstream: Upstream, fetch: Fetch, settings: SourceSettings, tmp_path: Path
) -> None:
    fetch(repository=str(upstream.path))
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    real = shutil.which("git")
    fake.write_text(f'#!/bin/sh\n[ "$1" = fetch ] || exec {real} "$@"\necho "fatal: the moon is full" >&2\nexit 128\n')
    fake.chmod(0o755)
    environ = {**settings.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    odd = attrs.evolve(settings, environ=environ)
    with pytest.raises(Fatal, match="the moon is full"):
        fetch(odd, repository=str(upstream.path), branch="main")
    again = attrs.evolve(odd, clone_on_pull_fail=True)
    assert fetch(again, repository=str(upstream.path), branch="main").commit
