from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from clearml_agent_clone.errors import Retryable, UserError
from clearml_agent_clone.util.files import own_dir, private_dir, read_json, slug, write_atomic, write_json
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


def test_a_state_folder_is_made_and_kept_private(tmp_path: Path) -> None:
    assert mode(own_dir(tmp_path / "new")) == 0o700
    (tmp_path / "listable").mkdir(mode=0o755)
    assert own_dir(tmp_path / "listable") == tmp_path / "listable"  # what is in it is private anyway
    (tmp_path / "link").symlink_to(tmp_path / "new")
    assert own_dir(tmp_path / "link") == tmp_path / "link"


@pytest.mark.parametrize("bits", [0o770, 0o702, 0o1777])
def test_a_state_folder_that_others_can_change_is_refused(tmp_path: Path, bits: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(bits)
    with pytest.raises(
        UserError, match=rf"mode {bits:04o}\). Look whether they have.*chmod 700 {tmp_path}/open"
    ) as error:
        own_dir(tmp_path / "open")
    assert error.value.code == "state-dir-open"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
@pytest.mark.parametrize("through_a_link", [False, True])
def test_a_state_folder_of_somebody_else_is_refused(tmp_path: Path, through_a_link: bool) -> None:
    folder, path = tmp_path / "theirs", tmp_path / "theirs"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    if through_a_link:
        path = tmp_path / "link"
        path.symlink_to(folder)
    with pytest.raises(UserError, match=r"belongs to user 12345, and this agent runs as user root \(0\)") as error:
        own_dir(path)
    assert error.value.code == "state-dir-foreign"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link away")
def test_a_link_that_somebody_else_has_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    os.chown(tmp_path / "link", 12345, 12345, follow_symlinks=False)
    with pytest.raises(UserError, match="is a link that user 12345 has made"):
        own_dir(tmp_path / "link")
