from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from clearml_agent_clone.errors import Retryable, UserError
from clearml_agent_clone.util.files import private_dir, read_json, slug, write_atomic, write_json
from clearml_agent_clone.util.names import did_you_mean


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = private_dir(tmp_path / "a" / "b")
        write_json(folder / "file", {"key": 1})
    finally:
        os.umask(before)
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)
    assert mode(folder / "file") == 0o600
    assert read_json(folder / "file") == {"key": 1}


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    write_atomic(file, "old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(Retryable, match="no space left"):
        write_atomic(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file"):
        private_dir(tmp_path / "file")
    with pytest.raises(UserError, match="CLEARML_AGENT_STATE_DIR"):
        write_atomic(tmp_path / "missing" / "file", "text")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_what_is_not_json_reads_as_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read_json(tmp_path / "file") is None
    assert read_json(tmp_path / "missing") is None


@pytest.mark.parametrize(
    ("text", "name"),
    [("host:gpu0,1", "host_gpu0_1"), ("../x", "_x"), ("..", "_"), ("", "_"), ("a/b", "a_b")],
)
def test_a_slug_is_one_safe_name(text: str, name: str) -> None:
    assert slug(text) == name


def test_near_names_are_suggested() -> None:
    assert did_you_mean("Defualt", ["default", "services"]) == 'Did you mean "default"?'
    assert did_you_mean("xyz", ["default"]) == ""
