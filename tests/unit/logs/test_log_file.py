from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clearml_agent_clone.logs import raw_output
from clearml_agent_clone.logs.log_file import LogFile
from clearml_agent_clone.logs.raw_output import bound_raw_output


def lines(folder: Path) -> list[str]:
    """All lines of the log and its older files, oldest first."""
    files = sorted(folder.iterdir(), key=lambda file: -int(file.suffix[1:] or 0) if file.suffix[1:].isdigit() else 0)
    return [line for file in files for line in file.read_text().splitlines()]


def failing_write(fail: Callable[[], bool], part: int = 0) -> Callable[[int, bytes], int]:
    """``os.write`` of a disk that is full while ``fail``; ``part`` bytes still fit."""
    real, room = os.write, [part]

    def write(fd: int, data: bytes) -> int:
        if not fail():
            return real(fd, data)
        fits, room[0] = min(room[0], len(data)), 0
        if not fits:
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data[:fits]))

    return write


def test_no_line_is_lost_by_turning_over(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", 1000, 50)
    for number in range(500):
        file.write(f"line {number}\n".encode())
    file.close()
    assert lines(tmp_path) == [f"line {number}" for number in range(500)]
    assert all(found.stat().st_size <= 1000 for found in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) > 3


@pytest.mark.parametrize(("backups", "names"), [(0, ["log"]), (2, ["log", "log.1", "log.2"])])
def test_so_many_old_files_are_kept(tmp_path: Path, backups: int, names: list[str]) -> None:
    file = LogFile(tmp_path / "log", 100, backups)
    for number in range(100):
        file.write(f"line {number}\n".encode())
    file.close()
    assert sorted(found.name for found in tmp_path.iterdir()) == names
    assert (tmp_path / "log").read_text().endswith("line 99\n")


def test_a_line_longer_than_a_file_and_a_log_without_limit(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", 10, 3)
    for letter in b"abc":
        file.write(bytes([letter]) * 50 + b"\n")
    file.close()
    assert [len(line) for line in lines(tmp_path)] == [50, 50, 50]
    file = LogFile(tmp_path / "endless", 0, 3)
    file.write(b"x" * 100_000 + b"\n")
    file.write(b"y\n")
    file.close()
    assert (tmp_path / "endless").stat().st_size == 100_003


@pytest.mark.parametrize("part", [0, 3])
def test_a_full_disk_delays_lines_and_tears_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    full = [True]
    file = LogFile(tmp_path / "log", 1000, 3)
    monkeypatch.setattr(os, "write", failing_write(lambda: full[0], part))
    for number in range(5):
        file.write(f"line {number}\n".encode())
    assert file.take_dropped() == 0
    full[0] = False
    file.write(b"line 5\n")
    file.close()
    assert lines(tmp_path) == [f"line {number}" for number in range(6)]
    assert file.take_dropped() == 0


def test_what_does_not_fit_into_memory_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = [True]
    file = LogFile(tmp_path / "log", 0, 3)
    monkeypatch.setattr(os, "write", failing_write(lambda: full[0], 3))
    line = b"x" * 1023 + b"\n"
    for _ in range(1000):
        file.write(line)
    assert len(file._pending) <= 256 * 1024
    full[0] = False
    file.write(b"back\n")
    seen = (tmp_path / "log").read_bytes().split(b"\n")
    assert seen[0] == b"xxx"
    assert set(seen[1:-2]) == {line[:-1]}
    assert seen[-2:] == [b"back", b""]
    assert file.take_dropped() == 1001 - (len(seen) - 2)
    assert file.take_dropped() == 0
    file.close()


def test_a_folder_that_takes_no_new_file_lets_the_old_one_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LogFile(tmp_path / "log", 100, 3)
    (tmp_path / "log.new").mkdir()  # stands in the way
    for number in range(50):
        file.write(f"line {number}\n".encode())
    assert (tmp_path / "log").read_text().splitlines() == [f"line {number}" for number in range(50)]
    file.close()


def test_a_log_that_was_moved_or_deleted_is_begun_anew(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log", 1000, 3)
    file.write(b"one\n")
    (tmp_path / "log").rename(tmp_path / "moved")
    file.write(b"two\n")
    (tmp_path / "log").unlink()
    file.write(b"three\n")
    file.close()
    assert (tmp_path / "moved").read_text() == "one\n"
    assert (tmp_path / "log").read_text() == "three\n"


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        LogFile(tmp_path / "log", 0, 0)


CRASH = """
import ctypes, logging, os, sys
from pathlib import Path
from clearml_agent_clone.logs.raw_output import keep_raw_output
logging.basicConfig(filename=sys.argv[2])
os.umask(0)
keep_raw_output(Path(sys.argv[1]))
os.write(2, b"a library prints\\n")
print("so do we", flush=True)
ctypes.string_at(0)
"""


def test_a_crash_in_c_leaves_its_words_and_a_stack(tmp_path: Path) -> None:
    out = tmp_path / "daemon.out"
    for _ in range(2):
        child = subprocess.run([sys.executable, "-c", CRASH, out, tmp_path / "log"], capture_output=True, check=False)
        assert child.returncode == -11
        assert child.stderr == b""
        said = out.read_text()
        assert said.startswith("a library prints\nso do we\n")
        assert "Fatal Python error: Segmentation fault" in said
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert (tmp_path / "daemon.out.1").read_text().startswith("a library prints\n")
    assert "the last agent printed outside its log" in (tmp_path / "log").read_text()


def test_raw_output_is_bounded_while_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raw_output, "LARGEST", 1000)
    monkeypatch.setattr(raw_output, "_KEPT", 10)
    out = tmp_path / "daemon.out"
    bound_raw_output(out)  # there is none
    with out.open("ab", buffering=0) as writer:
        writer.write(b"x" * 990 + b"0123456789")
        bound_raw_output(out)
        assert out.stat().st_size == 1000
        writer.write(b"!")
        bound_raw_output(out)
        writer.write(b"on")
    assert out.read_bytes() == b"on"
    assert (tmp_path / "daemon.out.1").read_bytes() == b"123456789!"
