"""``clearml-agent demo`` as a stranger runs it: it ends by itself, says how it went, leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from clearml_agent_clone.demo import show


@pytest.fixture
def place(tmp_path: Path) -> dict[str, str]:
    """Environment variables of somebody whose home and temporary folder we can look into."""
    for name in ("home", "tmp"):
        (tmp_path / name).mkdir()
    cache = os.environ.get("UV_CACHE_DIR") or str(Path.home() / ".cache" / "uv")
    own = {"HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path / "tmp"), "UV_CACHE_DIR": cache}
    return {**os.environ, **own}


def _start(place: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "clearml_agent_clone", "demo"],
        env=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _assert_nothing_left(place: dict[str, str]) -> None:
    assert list(Path(place["TMPDIR"]).iterdir()) == []
    assert list(Path(place["HOME"]).iterdir()) == []
    for process in psutil.process_iter(["environ", "cmdline"]):
        inherited = process.info["environ"] or {}
        assert not inherited.get("HOME", "").startswith(place["TMPDIR"]), process.info["cmdline"]


@pytest.mark.sdk
def test_demo_runs_a_task_recorded_by_the_sdk(place: dict[str, str]) -> None:
    demo = _start(place)
    output, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, output
    assert "made with the ClearML SDK" in output
    assert "| this line was never committed" in output
    assert "epoch 7:" in output, "the argument that the task carries (8 epochs) did not reach the code"
    assert "status    completed" in output
    assert "scalar    loss/train = " in output
    assert "timing    " in output
    _assert_nothing_left(place)


def test_demo_without_the_sdk(
    place: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HOME", "TMPDIR", "UV_CACHE_DIR"):
        monkeypatch.setenv(name, place[name])
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(show, "has_sdk", lambda: False)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    code = show.demo()
    output = capsys.readouterr().out
    assert code == 0, output
    assert "over the REST API" in output
    assert "| epoch 4:" in output
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    _assert_nothing_left(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_interrupted_while_the_task_runs(place: dict[str, str], number: signal.Signals) -> None:
    demo = _start(place)
    assert demo.stdout is not None
    deadline = time.monotonic() + 60
    for line in demo.stdout:
        if line.startswith("Enqueued") or time.monotonic() > deadline:
            break
    demo.send_signal(number)
    rest, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, rest
    assert "Interrupted" in rest
    assert "Traceback" not in rest
    _assert_nothing_left(place)
