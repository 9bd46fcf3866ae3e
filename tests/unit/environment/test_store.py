from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.environment.store import Lease, Meta, Store
from clearml_agent_clone.environment.upkeep import Bounds
from clearml_agent_clone.errors import Cancelled
from clearml_agent_clone.util.process import Cancel
from tests.helpers.consoles import Recorder

Make = Callable[[Path], Meta]


def maker(key: str, built: list[str] | None = None, wait: float = 0.0) -> Make:
    """Builds an 'environment' of two files."""

    def make(env: Path) -> Meta:
        if built is not None:
            built.append(key)
        (env / "lib").mkdir(parents=True)
        (env / "lib" / "module.py").write_text("1")
        time.sleep(wait)
        (env / "done").write_text("yes")
        return Meta(key, ("six==1",), "uv", "/python")

    return make


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", Bounds(entries=2))


def put(store: Store, key: str) -> Lease:
    lease, _ = store.build(key, maker(key), Recorder())
    return lease


def age(store: Store, key: str, seconds: float) -> None:
    (lease,) = store.root.glob(f"{key}.*/lease")
    then = time.time() - seconds
    os.utime(lease, (then, then))


def keys(store: Store) -> set[str]:
    return {path.parent.name.split(".")[0] for path in store.root.glob("*/meta.json")}


def test_what_was_built_is_found_again(store: Store) -> None:
    assert store.lease("k") is None
    built, new = store.build("k", maker("k"), Recorder())
    assert new
    assert (built.env / "done").read_text() == "yes"
    assert (built.folder / "installed.txt").read_text() == "six==1\n"
    again = store.lease("k")
    assert again is not None
    assert again.env == built.env
    assert again.meta == built.meta
    assert store.build("k", maker("k"), Recorder())[1] is False
    assert store.lease("other") is None
    built.release()
    again.release()
    again.release()


def test_a_failed_build_leaves_nothing(store: Store) -> None:
    def fail(env: Path) -> Meta:
        env.mkdir()
        raise Cancelled

    with pytest.raises(Cancelled):
        store.build("k", fail, Recorder())
    assert [path.name for path in store.root.iterdir()] == ["k.lock"]
    assert put(store, "k").env.is_dir()


def test_builders_of_one_key_do_the_work_once(store: Store) -> None:
    built: list[str] = []
    consoles = [Recorder() for _ in range(4)]
    leases: list[tuple[Lease, bool]] = []

    def task(console: Recorder) -> None:
        leases.append(store.build("k", maker("k", built, wait=0.05), console))

    threads = [threading.Thread(target=task, args=(console,)) for console in consoles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built == ["k"]
    assert sorted(new for _, new in leases) == [False, False, False, True]
    assert len({lease.env for lease, _ in leases}) == 1
    assert sum("Waiting for another task" in console.text for console in consoles) >= 1


def test_waiting_for_a_builder_can_be_given_up(store: Store) -> None:
    store.root.mkdir()
    other = FileLock(store.root / "k.lock")
    assert other.take(alone=True)
    cancel = Cancel()
    cancel.set()
    with pytest.raises(Cancelled):
        store.build("k", maker("k"), Recorder(), cancel)


def test_the_least_recently_used_goes_first_and_one_in_use_never(store: Store) -> None:
    leases = {key: put(store, key) for key in ("a", "b", "c", "d")}
    for key in ("b", "c", "d"):
        leases[key].release()
    for number, key in enumerate(("a", "b", "c", "d")):
        age(store, key, 10_000 - number)
    removed = store.evict()
    assert {name.split(".")[0] for name in removed} == {"b", "c"}
    assert keys(store) == {"a", "d"}


def test_what_was_used_a_moment_ago_is_spared(store: Store) -> None:
    for key in ("a", "b", "c"):
        put(store, key).release()
    assert store.evict() == []


def test_a_full_disk_evicts_all_that_is_not_used(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", Bounds(free_space=10**18))
    for key in ("a", "b"):
        put(store, key).release()
        age(store, key, 10_000)
    (spare,) = (path for path in store.root.glob("b.*") if path.is_dir())
    assert [name.split(".")[0] for name in store.evict(spare=spare)] == ["a"]


def test_a_task_that_changed_a_file_changes_no_other_task(store: Store) -> None:
    first = put(store, "k")
    (first.env / "lib" / "module.py").write_text("poison")
    first.release()
    assert store.lease("k") is None
    second, new = store.build("k", maker("k"), Recorder())
    assert new
    assert (second.env / "lib" / "module.py").read_text() == "1"


@pytest.mark.parametrize("change", ["added", "removed", "edited", "gone"])
def test_a_change_is_noticed_although_the_runner_died(store: Store, change: str) -> None:
    lease = put(store, "k")
    module = lease.env / "lib" / "module.py"
    if change == "added":
        (lease.env / "lib" / "new.py").write_text("")
    elif change == "removed":
        module.unlink()
    elif change == "edited":
        module.write_text("2")
    else:
        lease.env.rename(lease.folder / "moved")
    lease._lock.release()  # as the kernel does when the holder dies: nobody compared
    console = Recorder()
    assert store.lease("k", console) is None
    assert "changed by an earlier task" in console.text
    assert keys(store) == set()


def test_bytecode_is_no_change(store: Store) -> None:
    lease = put(store, "k")
    cache = lease.env / "lib" / "__pycache__"
    cache.mkdir()
    (cache / "module.cpython-311.pyc").write_bytes(b"x")
    (lease.env / "lib" / "old.pyc").write_bytes(b"x")
    lease.release()
    assert store.lease("k") is not None


def test_the_last_user_compares(store: Store) -> None:
    first = put(store, "k")
    second = store.lease("k")
    assert second is not None
    (first.env / "lib" / "module.py").write_text("poison")
    first.release()
    assert keys(store) == {"k"}, "it is still in use"
    second.release()
    assert keys(store) == set()


def test_a_process_that_inherits_the_lease_holds_it(store: Store) -> None:
    lease = put(store, "k")
    sleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(sleep, stdin=subprocess.PIPE, pass_fds=[lease.fileno()]) as task:
        (lease.env / "lib" / "module.py").write_text("its own")
        lease.release()
        age(store, "k", 10_000)
        assert Store(store.root, Bounds(entries=0, free_space=10**18)).evict() == []
        console = Recorder()
        assert store.lease("k", console) is None, "what it changed is its own"
        assert "A task that is running has changed the kept environment (lib/module.py)" in console.text
        assert (lease.env / "lib" / "module.py").read_text() == "its own", "the task is there, whatever became of it"
        task.communicate(b"")
    assert store.lease("k") is None


def test_an_adopted_environment_is_not_taken_away(store: Store) -> None:
    lease = put(store, "k")
    (lease.env / "lib" / "module.py").write_text("its own")
    lease._lock.release()  # the runner died, the task did not
    adopted = store.hold(lease.folder)
    assert adopted is not None
    assert adopted.env.is_dir()
    adopted.release()
    assert not lease.env.exists()


def test_a_folder_that_cannot_be_read_is_taken_for_changed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = put(store, "k")

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("clearml_agent_clone.environment.store.changed_files", refuse)
    lease.release()
    assert keys(store) == set()


def test_a_shared_file_puts_the_others_in_doubt(tmp_path: Path) -> None:
    told: list[tuple[Path, list[str]]] = []
    store = Store(tmp_path / "store", poisoned=lambda env, names: told.append((env, names)))
    cache = tmp_path / "cached.py"
    cache.write_text("good")

    def link(env: Path) -> Meta:
        env.mkdir()
        os.link(cache, env / "linked.py")
        return Meta("k", (), "uv", "")

    first, _ = store.build("one", link, Recorder())
    other, _ = store.build("two", link, Recorder())
    other.release()
    before = (other.folder / "lease").stat().st_mtime_ns
    (first.env / "linked.py").write_text("poison")
    first.release()
    assert told == [(first.env, ["linked.py"])]
    assert (other.folder / "lease").stat().st_mtime_ns == before, "being doubted is no use"
    assert store.lease("two") is None


def test_an_environment_for_one_task_goes_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", keep=False)
    lease = put(store, "task-1")
    assert lease.env.is_dir()
    lease.release()
    assert not lease.folder.exists()
    dead = put(store, "task-2")
    dead._lock.release()
    alive = put(store, "task-3")
    assert not dead.folder.exists()
    assert alive.env.is_dir()


_BUILDER = """
import sys, time
from pathlib import Path
from clearml_agent_clone.environment.store import Store
def make(env):
    env.mkdir()
    (env / "half").write_text("half")
    print("building", flush=True)
    time.sleep(60)
class Quiet:
    def say(self, text): pass
    def write(self, data): pass
Store(Path(sys.argv[1])).build("k", make, Quiet())
"""


def test_a_builder_that_is_killed_leaves_the_way_free(store: Store) -> None:
    with subprocess.Popen([sys.executable, "-c", _BUILDER, str(store.root)], stdout=subprocess.PIPE) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == b"building\n"
        assert store.lease("k") is None, "half an environment is none"
        (half,) = store.root.glob("k.*/env/half")
        console = Recorder()
        threading.Timer(0.05, builder.send_signal, [signal.SIGKILL]).start()
        lease, new = store.build("k", maker("k"), console)
    assert "Waiting" in console.text
    assert new
    assert (lease.env / "done").exists()
    assert not half.exists()


def test_what_dead_processes_left_is_swept(store: Store) -> None:
    lease = put(store, "k")
    (store.root / "trash.1").mkdir()
    (store.root / "old.lock").touch()
    half = store.root / "dead.1"
    half.mkdir()
    unborn = store.root / "new.dead.2"
    unborn.mkdir()
    (store.root / "new.fresh.1").mkdir()
    fresh = FileLock(store.root / "new.fresh.1" / "lease")
    assert fresh.take(alone=True)
    store.sweep()
    fresh.release()
    assert {path.name for path in store.root.iterdir()} == {lease.folder.name, "k.lock", "new.fresh.1"}


def test_a_folder_of_another_format_is_left_alone(store: Store) -> None:
    lease = put(store, "k")
    lease.release()
    (lease.folder / "meta.json").write_text('{"format": 99}')
    assert store.lease("k") is None
    assert lease.folder.exists()
