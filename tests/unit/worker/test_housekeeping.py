from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from pathlib import Path

import pytest

from clearml_agent_clone.runner.job import RunFolder
from clearml_agent_clone.runner.journal import State
from clearml_agent_clone.util.files import private_dir, write_json
from clearml_agent_clone.worker.housekeeping import INTERVAL, Housekeeping, is_kept, mark_kept
from tests.helpers.sight_tools import make_run, make_worker

HOUR, DAY = 3600.0, 86400.0
DONE = (State.PREPARING, State.RUNNING, State.FINISHING, State.DONE)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return private_dir(tmp_path / "state")


def clean(state: Path, later: float) -> None:
    """Housekeeping, ``later`` seconds from now."""
    keeper = Housekeeping(state, clock=lambda: time.time() + later)
    assert keeper.step(0.0) == INTERVAL


def touched(path: Path, content: str = "x") -> Path:
    private_dir(path.parent)
    path.write_text(content)
    return path


def test_half_written_files_go_after_an_hour_and_others_stay(state: Path) -> None:
    doomed = [
        touched(state / folder / ".file.json.ab12cd_9")
        for folder in (".", "workers/w", "runs/r", "runs/r/logs", "config-cache", "logs")
    ]
    kept = [
        touched(state / "runs" / "r" / name)
        for name in (".gitignore", ".file.json", "code/.env.abcdefgh", ".x.ABCDEFGH", ".x.abcdefghi", "job.json")
    ]
    link = state / ".link.abcdefgh"
    link.symlink_to(kept[0])
    clean(state, HOUR - 60)
    assert all(path.exists() for path in doomed + kept)
    clean(state, HOUR + 60)
    assert [path for path in doomed if path.exists()] == []
    assert all(path.exists() for path in [*kept, link])


def test_runs_that_are_over_go_and_those_that_are_not_stay_for_ever(state: Path) -> None:
    over = make_run(state, "over", moves=DONE)
    kept = make_run(state, "kept", moves=DONE)
    mark_kept(kept)
    by_hand = make_run(state, "hand", moves=DONE, owner="")
    unfinished = [make_run(state, f"u{count}", moves=DONE[:count]) for count in range(4)]
    never_written = private_dir(state / "runs" / "never")
    unreadable = private_dir(state / "runs" / "newer")
    touched(unreadable / "job.json", "{")
    interrupted = touched(state / "runs" / ".gone-x-1" / "code" / "file").parent.parent
    clean(state, HOUR + 60)
    gone = [path for path in (over.path, never_written, interrupted) if path.exists()]
    assert gone == []
    assert all(folder.path.exists() for folder in (kept, by_hand, *unfinished))
    clean(state, 7 * DAY + 60)
    assert not kept.path.exists()
    assert not by_hand.path.exists()
    assert all(folder.path.exists() for folder in unfinished)
    assert unreadable.exists()
    assert [path.name for path in (state / "runs").iterdir() if path.name.startswith(".")] == []


def test_a_run_that_has_a_runner_stays(state: Path) -> None:
    folder = make_run(state, "t", moves=DONE)
    lock = folder.hold()
    assert lock is not None
    clean(state, DAY)
    assert folder.path.exists()
    os.close(lock)
    clean(state, DAY)
    assert not folder.path.exists()


def test_kept_is_a_mark_on_disk(state: Path) -> None:
    folder = make_run(state, "t")
    assert not is_kept(folder)
    mark_kept(folder)
    assert is_kept(folder)
    mark_kept(RunFolder(state / "gone"))  # nothing to keep


def test_worker_ids_that_nobody_uses_go_with_everything_but_a_used_lock(state: Path) -> None:
    unused = make_worker(state, "unused")
    touched(unused / "lock")
    with_runs = make_worker(state, "host:0")
    make_run(state, "t1", owner="host:0")
    used = make_worker(state, "used")
    foreign = make_worker(state, "foreign")
    private_dir(foreign / "a-folder")
    with (used / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        clean(state, 6 * DAY)
        assert unused.exists()
        clean(state, 8 * DAY)
        assert not unused.exists()
        assert all(folder.exists() for folder in (with_runs, used, foreign))
    clean(state, 8 * DAY)
    assert not used.exists()


def test_parsed_files_go_when_their_original_has_gone(state: Path, tmp_path: Path) -> None:
    there = touched(tmp_path / "there.conf")
    cache = private_dir(state / "config-cache")
    for name, original in (("a", there), ("b", tmp_path / "gone.conf")):
        write_json(cache / f"{name}.json", {"format": 1, "place": f"{original}\n"})
    touched(cache / "c.json", "not ours")
    clean(state, DAY - 60)
    assert len(list(cache.iterdir())) == 3
    clean(state, DAY + 60)
    assert [path.name for path in cache.iterdir()] == ["a.json"]


def test_logs_of_agents_that_do_not_run_any_more(state: Path) -> None:
    lock = os.open(make_worker(state, "host:0") / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    names = (
        "daemon-host_0.log",
        "daemon-host_0.log.5",
        "daemon-host_0.out",
        "daemon-host_01.log",
        "daemon-start-7.log",
    )
    files = {name: touched(state / "logs" / name) for name in names}
    clean(state, DAY + 60)
    assert [name for name, path in files.items() if not path.exists()] == ["daemon-start-7.log"]
    clean(state, 31 * DAY)
    assert sorted(path.name for path in (state / "logs").iterdir()) == sorted(names[:3])
    os.close(lock)


def test_a_clock_that_was_set_back_clears_nothing(state: Path) -> None:
    make_run(state, "t", moves=DONE)
    touched(state / ".x.abcdefgh")
    before = sorted(state.rglob("*"))
    clean(state, -365 * DAY)
    assert sorted(state.rglob("*")) == before


def test_an_empty_or_missing_state_folder_is_clean(state: Path) -> None:
    clean(state, 0)
    clean(state / "missing", 0)


def test_what_agents_print_outside_their_logs_is_bounded(state: Path) -> None:
    out = touched(state / "logs" / "daemon-host_0.out", "x" * 1_100_000)
    clean(state, 0)
    assert (out.stat().st_size, out.with_name("daemon-host_0.out.1").stat().st_size) == (0, 256 * 1024)


def test_what_is_being_made_survives_a_cleaner_that_never_rests(state: Path) -> None:
    stop = threading.Event()
    long_ago = time.time() - 30 * DAY

    def clean_on() -> None:
        keeper = Housekeeping(state)
        while not stop.is_set():
            keeper.step(0.0)

    cleaner = threading.Thread(target=clean_on)
    cleaner.start()
    try:
        for number in range(12):
            for old in (touched(state / f".x{number}.abcdefgh"), private_dir(state / "runs" / f"old-{number}")):
                os.utime(old, (long_ago, long_ago))
            folder = make_run(state, f"t{number}", moves=DONE, owner=f"host:{number}")
            make_worker(state, f"host:{number}")
            assert json.loads((folder.path / "job.json").read_text())["task_id"] == f"t{number}"
    finally:
        stop.set()
        cleaner.join()
    clean(state, 0)
    assert sorted(path.name for path in (state / "runs").iterdir()) == sorted(f"run-t{n}" for n in range(12))
    assert list(state.glob(".x*")) == []
    assert len(list((state / "workers").iterdir())) == 12
