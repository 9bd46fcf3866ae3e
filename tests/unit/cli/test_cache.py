from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clearml_agent_clone.__main__ import main
from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.environment.store import FOLDER, Meta, Store
from tests.helpers.consoles import Recorder

DAY = 86400.0
Listed = Callable[..., list[dict[str, Any]]]


def make(env: Path) -> Meta:
    env.mkdir()
    (env / "data").write_bytes(b"x" * 5000)
    return Meta("", ("numpy==1.0", "six==1.16"), "uv", "/usr/bin/python3")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that keeps an old and a new environment, two mirrors, downloads, and what a dead builder left."""
    for name in os.environ:
        if name.startswith(("CLEARML_", "TRAINS_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "clearml.conf").touch()
    monkeypatch.setenv("CLEARML_CONFIG_FILE", str(tmp_path / "clearml.conf"))
    kept = tmp_path / ".clearml"
    store = Store(kept / "venvs-cache" / FOLDER)
    for key, days in (("young", 1), ("old", 20)):
        lease, _ = store.build(key, make, Recorder())
        lease.release()
        aged(lease.folder / "lease", days)
    (store.root / "dead.1" / "env").mkdir(parents=True)
    (store.root / "trash.1").mkdir()
    for name in ("used.1", "idle.2"):
        mirror = kept / "vcs-cache" / "mirrors" / name / "mirror"
        mirror.mkdir(parents=True)
        (mirror / "HEAD").write_text("ref: refs/heads/main\n")
        aged(mirror / "HEAD", 20)
    info = kept / "agent" / "runs" / "run-1" / "repository" / ".git" / "objects" / "info"
    info.mkdir(parents=True)
    (info / "alternates").write_text(f"{kept}/vcs-cache/mirrors/used.1/mirror/objects\n")
    downloads = kept / "pip-download-cache" / "uv" / "archive-v0"
    downloads.mkdir(parents=True)
    (downloads / "wheel").write_bytes(b"x" * 5000)
    return tmp_path


def aged(file: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(file, (then, then))


@pytest.fixture
def listed(home: Path, capsys: pytest.CaptureFixture[str]) -> Listed:
    del home

    def call(*kinds: str) -> list[dict[str, Any]]:
        assert main(["cache", "list", "--json", *kinds]) == 0
        found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
        return found

    return call


def names(found: list[dict[str, Any]]) -> set[str]:
    return {entry["key"].split(".")[0] for entry in found}


def test_what_is_kept_is_listed(listed: Listed) -> None:
    found = listed()
    assert [entry["kind"] for entry in found] == ["environment"] * 4 + ["mirror"] * 2 + ["download"]
    (young,) = (entry for entry in found if entry["key"].startswith("young."))
    assert young["packages"] == ["numpy==1.0", "six==1.16"]
    assert young["bytes"] == 5000
    assert young["in_use_by"] == []
    assert DAY - 60 < time.time() - young["last_use"] < DAY + 60
    assert {entry["key"] for entry in found if entry["left_by_interrupted_work"]} == {"dead.1", "trash.1"}
    assert {entry["key"]: entry["in_use_by"] for entry in listed("mirrors")} == {"used.1": ["run run-1"], "idle.2": []}


def test_the_table_is_for_people(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del home
    assert main(["cache", "list"]) == 0
    shown = capsys.readouterr().out
    assert "KIND" in shown
    assert "1 d ago" in shown
    assert "nobody (left by interrupted work)" in shown
    assert "run run-1" in shown
    assert "7 in all" in shown
    with pytest.raises(SystemExit):
        main(["cache", "list", "nonsense"])
    assert 'there is no kind "nonsense"' in capsys.readouterr().err


def test_an_environment_in_use_is_shown_with_its_task_and_stays(home: Path, listed: Listed) -> None:
    (folder,) = (path for path in (home / ".clearml" / "venvs-cache" / FOLDER).glob("old.*") if path.is_dir())
    lock = FileLock(folder / "lease")
    assert lock.take(alone=False)
    sleep = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    environ = {**os.environ, "CLEARML_TASK_ID": "abc"}
    with subprocess.Popen(sleep, stdin=subprocess.PIPE, pass_fds=[lock.fileno()], env=environ) as task:
        lock.release()
        (old,) = (entry for entry in listed("environment") if entry["key"].startswith("old."))
        assert old["in_use_by"] == ["task abc"]
        assert main(["cache", "clean", "--all", "environment"]) == 0
        assert folder.is_dir()
        task.communicate(b"")
    assert main(["cache", "clean", "--all", "environment"]) == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ([], {"young", "old", "used", "idle", "uv"}),
        (["--older-than", "10"], {"young", "used", "uv"}),
        (["--older-than", "10", "mirror"], {"young", "old", "dead", "trash", "used", "uv"}),
        (["--all"], {"used"}),
        (["--all", "--dry-run"], {"young", "old", "dead", "trash", "used", "idle", "uv"}),
    ],
)
def test_only_what_was_asked_for_is_removed(
    listed: Listed, capsys: pytest.CaptureFixture[str], options: list[str], left: set[str]
) -> None:
    assert main(["cache", "clean", *options]) == 0
    said = capsys.readouterr().out
    assert ("would remove" in said) == ("--dry-run" in options)
    assert names(listed()) == left
