"""What a store keeps, and where an environment goes when the store is not to be used."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clearml_agent_clone.environment import EnvironmentResult, EnvironmentSettings
from clearml_agent_clone.environment.build import store_folder
from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.environment.signs import Silence
from clearml_agent_clone.environment.store import Busy, Meta, Store
from clearml_agent_clone.environment.upkeep import Bounds
from clearml_agent_clone.errors import Retryable, UserError
from tests.helpers.consoles import Recorder

Build = Callable[..., EnvironmentResult]
DAY = 86400.0


def make(env: Path) -> Meta:
    env.mkdir()
    (env / "data").write_bytes(b"x" * 1000)
    return Meta("", (), "uv", "")


def filled(root: Path, bounds: Bounds, **ages: float) -> Store:
    """A store with environments that were used so many days ago."""
    store = Store(root)
    for key, days in ages.items():
        lease, _ = store.build(key, make, Recorder())
        lease.release()
        then = time.time() - days * DAY
        os.utime(lease.folder / "lease", (then, then))
    return Store(root, bounds)


def names(removed: list[str]) -> set[str]:
    return {name.split(".")[0] for name in removed}


def test_old_ones_go(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", Bounds(age=30 * DAY), a=1, b=29, c=31, d=400)
    assert names(store.evict()) == {"c", "d"}


def test_the_size_of_all_is_bounded(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", Bounds(size=2500), a=3, b=2, c=1)
    assert names(store.evict()) == {"a"}
    assert Store(store.root, Bounds(size=3000)).evict() == []


def test_where_space_is_short_downloads_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "s", Bounds(free_space=100), a=3, b=2)
    free = [50]
    monkeypatch.setattr("clearml_agent_clone.environment.upkeep._free", lambda _: free[0])
    told: list[str] = []

    def squeeze() -> None:
        told.append("asked")
        free[0] = 150

    assert Store(store.root, store.bounds, squeeze=squeeze).evict() == []
    assert told == ["asked"]
    free[0] = 50
    assert names(Store(store.root, store.bounds, squeeze=lambda: None).evict()) == {"a", "b"}


def test_a_release_looks_at_age_too(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", Bounds(age=DAY), a=3)
    lease, _ = store.build("b", make, Recorder())
    lease.release()
    assert [folder.name.split(".")[0] for folder in store.folders()] == ["b"]


def test_a_full_disk_gives_the_build_a_second_chance(tmp_path: Path) -> None:
    store = filled(tmp_path / "s", Bounds(), a=3, b=0)
    console, tries = Recorder(), []

    def fail_once(env: Path) -> Meta:
        tries.append(env)
        if len(tries) == 1:
            raise UserError("cannot install: the disk is full", code="packages-failed")
        return make(env)

    lease, built = store.build("c", fail_once, console)
    assert built
    assert "removed 2 kept environments that nobody uses" in console.text
    lease.release()
    tries.clear()
    lease, _ = Store(tmp_path / "other").build("c", make, Recorder())  # in use, so there is nothing to remove
    with pytest.raises(UserError, match="the disk is full"):
        Store(tmp_path / "other").build("d", fail_once, console)
    lease.release()


def test_a_real_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise Retryable("no space left", code="disk-full")

    monkeypatch.setattr("clearml_agent_clone.environment.store.write_atomic", full)
    store = Store(tmp_path / "s")
    with pytest.raises(Retryable):
        store.build("a", make, Recorder())
    assert store.folders() == []


def test_who_shows_signs_of_life_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "k.lock"
    file.touch()
    silence = Silence(file, 0.05)
    assert not silence.is_long()
    for stamp in range(1, 4):
        time.sleep(0.03)
        os.utime(file, (stamp, stamp))
        assert not silence.is_long()
    time.sleep(0.06)
    assert silence.is_long()


def test_a_builder_that_hangs_is_not_waited_for(build: Build, console: Recorder, settings: EnvironmentSettings) -> None:
    first = build("alpha")  # to learn the key
    assert first.lease is not None
    key = first.lease.meta.key
    first.lease.release()
    Store(store_folder(settings), Bounds()).discard(first.lease.folder)
    hung = FileLock(store_folder(settings) / f"{key}.lock")
    assert hung.take(alone=True)
    with pytest.raises(Busy):
        Store(store_folder(settings)).build(key, make, Recorder(), patience=0.05)
    result = build("alpha", lock_timeout=0.05)
    hung.release()
    assert "made for this task alone: whoever builds it has shown no sign of life for 0.05 s" in console.text
    assert result.lease is not None
    assert result.lease.folder.is_relative_to(settings.builds_dir)
    result.lease.release()
    assert not result.lease.folder.exists()


@pytest.mark.parametrize("why", ["foreign", "open", "file", "short"])
def test_where_the_store_cannot_be_used_the_task_gets_an_environment_of_its_own(
    build: Build, console: Recorder, settings: EnvironmentSettings, why: str
) -> None:
    root = store_folder(settings)
    more = {}
    if why == "file":
        root.parent.mkdir()
        root.touch()
    else:
        root.mkdir(parents=True)
    if why == "foreign":
        if os.geteuid() != 0:
            pytest.skip("giving a folder to somebody else takes root")
        os.chown(root, 12345, 12345)
    elif why == "open":
        root.chmod(0o777)
    elif why == "short":
        more = {"free_space": 10**18}
    result = build("", **more)
    assert "made for this task alone" in console.text
    expected = {
        "foreign": "belongs to another user",
        "open": "can be changed by other users",
        "file": "is not a directory",
    }
    assert expected.get(why, "GB have to stay free") in console.text
    assert result.lease is not None
    assert result.lease.folder.is_relative_to(settings.builds_dir)


def test_a_store_that_may_only_be_read_is_used_and_not_written(
    build: Build, console: Recorder, settings: EnvironmentSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that is mounted read-only, which takes root and a device to have for real."""
    first = build("")
    assert first.lease is not None
    first.lease.release()
    root, real = str(store_folder(settings)), os.open

    def refuse(path: str, flags: int, *mode: int, **more: int) -> int:
        if str(path).startswith(root) and flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
        return real(path, flags, *mode, **more)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: not (str(path).startswith(root) and mode & os.W_OK))
    hit = build("")
    assert hit.reused
    assert hit.lease is not None
    assert hit.lease.folder == first.lease.folder
    hit.lease.release()
    own = build("alpha")
    assert "cannot be written" in console.text
    assert own.lease is not None
    assert own.lease.folder.is_relative_to(settings.builds_dir)


def test_a_cache_on_another_disk_is_copied_from(build: Build, console: Recorder, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system at /dev/shm")
    cache = memory / f"clearml-agent-test-{os.getpid()}"
    try:
        result = build("alpha", uv_cache_dir=cache)
        assert "another disk" in console.text
        assert result.lease is not None
        (module,) = result.lease.env.glob("lib/python*/site-packages/alpha.py")
        assert module.stat().st_nlink == 1
        assert (module.parent / "pip" / "__init__.py").stat().st_nlink == 1
    finally:
        shutil.rmtree(cache, ignore_errors=True)
