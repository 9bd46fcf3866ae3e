"""Helper programs: real ones that talk, hang, ignore signals and leave children behind."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.launch.processes import ProcessId
from clearml_agent_clone.util.process import run

DEAF = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(os.getpid(), flush=True)\ntime.sleep(60)"


class Heard:
    """A console that remembers, and can do something at the first word."""

    def __init__(self, cancel: threading.Event | None = None) -> None:
        self.data = b""
        self._cancel = cancel

    def say(self, text: str) -> None:
        self.data += text.encode()

    def write(self, data: bytes) -> None:
        self.data += data
        if self._cancel is not None:
            self._cancel.set()


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_output_exit_code_and_input() -> None:
    console = Heard()
    done = run(python("import sys; print(sys.stdin.read().upper()); sys.exit(3)"), stdin=b"text", console=console)
    assert (done.exit_code, done.output, done.last_line, done.ok) == (3, "TEXT\n", "TEXT", False)
    assert console.data == b"TEXT\n"


def test_errors_can_be_kept_apart() -> None:
    console = Heard()
    done = run(python("import sys; print('out'); print('err', file=sys.stderr)"), separate_errors=True, console=console)
    assert (done.output, done.errors) == ("out\n", "err\n")
    assert console.data == b"err\n"


def test_without_input_nothing_waits_for_a_keyboard() -> None:
    assert run(python("import sys; print(repr(sys.stdin.read()))")).output == "''\n"


def test_a_cancelled_program_is_gone_even_when_it_ignores_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clearml_agent_clone.util.process._GRACE", 0.2)
    cancel = threading.Event()
    console = Heard(cancel)
    with pytest.raises(Cancelled):
        run(python(DEAF), console=console, cancel=cancel)
    assert ProcessId.of(int(console.data)) is None


def test_a_program_that_takes_too_long_counts_as_timed_out() -> None:
    assert run(python("import time; time.sleep(60)"), timeout=0.3).exit_code == 124


def test_a_child_that_holds_the_pipe_does_not_hold_us(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(20)'])\n"
        "print(child.pid, flush=True)\n"
    )
    done = run(python(code), timeout=15)
    assert done.exit_code == 0
    left = int(done.output)
    run(["kill", "-9", str(left)])


def test_only_the_end_of_a_long_output_is_kept() -> None:
    done = run(python("print('x' * 1_000_000); print('end')"))
    assert len(done.output) == 64 * 1024
    assert done.last_line == "end"


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match='cannot start "no-such-program"') as caught:
        run(["no-such-program"])
    assert caught.value.code == "program-missing"
