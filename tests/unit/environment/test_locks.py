from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.environment.locks import FileLock
from clearml_agent_clone.errors import UserError


def test_many_share_or_one_has_it_alone(tmp_path: Path) -> None:
    one, two, three = (FileLock(tmp_path / "lock") for _ in range(3))
    assert one.take(alone=False)
    assert two.take(alone=False)
    assert not three.take(alone=True)
    assert not three.held
    two.release()
    assert one.take(alone=True), "a shared lock may become one's own"
    assert not two.take(alone=False)
    assert one.take(alone=False)
    assert two.take(alone=False)


def test_a_lock_on_a_file_that_was_removed_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    late = FileLock(path)
    assert late.take(alone=False)
    path.unlink()
    other = FileLock(path)
    assert other.take(alone=True)
    assert not late.take(alone=True), "it looked at the new file, which another has"


def test_what_stands_in_it(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.take(alone=True)
    lock.write(b"longer")
    lock.write(b"short")
    assert lock.read() == b"short"
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(UserError) as caught:
        FileLock(tmp_path / "lock").take(alone=True)
    assert caught.value.code == "no-locks"
