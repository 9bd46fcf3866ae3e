"""The exit code of a process that somebody else waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_agent_clone.launch.last_words import exit_code_of
from clearml_agent_clone.launch.place import Place, write_slot

_KERNEL = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])


@pytest.mark.skipif(_KERNEL < (6, 15), reason="the kernel does not tell before 6.15")
@pytest.mark.parametrize(
    ("code", "exit_code"), [("raise SystemExit(9)", 9), ("import os; os.kill(os.getpid(), 15)", -15)]
)
def test_the_kernel_still_knows(code: str, exit_code: int) -> None:
    child = subprocess.Popen([sys.executable, "-S", "-c", code])
    handle = os.pidfd_open(child.pid)
    child.wait()
    assert exit_code_of(handle) == exit_code
    os.close(handle)


def test_what_has_not_ended_has_no_code() -> None:
    handle = os.pidfd_open(os.getpid())
    assert exit_code_of(handle) is None
    os.close(handle)
    with open(os.devnull) as file:  # noqa: PTH123 - a descriptor that is no pidfd
        assert exit_code_of(file.fileno()) is None


def test_a_slot_holds_nothing_before_it_holds_a_value(tmp_path: Path) -> None:
    place = Place(tmp_path, "run")
    assert place.exit_code() is None
    handle = place.exit_file.create()
    size = place.exit_file.path.stat().st_size
    assert place.exit_code() is None
    write_slot(handle, "-9")
    assert place.exit_code() == -9
    assert place.exit_file.path.stat().st_size == size, "a full disk must not keep the code out"
    os.close(handle)
    os.close(place.exit_file.create())
    assert place.exit_code() == -9, "made again, it is what it was"
    place.exit_file.path.write_text('{"half')
    assert place.exit_code() is None
