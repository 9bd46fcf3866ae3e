"""Locks that tell whether a process lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from clearml_agent_clone.util.locks import is_locked, open_lock, try_lock

_HOLDER = """
import sys
from pathlib import Path
from clearml_agent_clone.util.locks import open_lock, try_lock
assert try_lock(open_lock(Path(sys.argv[1])), 0.0)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_lock_is_held_until_its_process_ends_however_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    command = [sys.executable, "-c", _HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        handle = open_lock(file)
        assert is_locked(file)
        assert not try_lock(handle, 0.05)
        holder.kill()
        assert try_lock(handle, 10.0)
        os.close(handle)
    assert not is_locked(file)


def test_who_looks_makes_nothing_and_holds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    assert not is_locked(file)
    assert not is_locked(tmp_path / "gone" / "lock")
    assert not file.exists()
    os.close(open_lock(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert not is_locked(file)
    handle = open_lock(file)
    assert try_lock(handle, 0.0)
    assert is_locked(file)
    os.close(handle)


def test_it_is_not_passed_on(tmp_path: Path) -> None:
    handle = open_lock(tmp_path / "lock")
    assert not os.get_inheritable(handle)
    os.close(handle)
