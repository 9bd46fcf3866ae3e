"""Where a task starts, and what is said when that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.entry import Start, check_start, entry_file, find_working_dir


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name in ("train.py", "src/model.py", "src/my script.py", "src/pkg/run.sh"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "outside.py").write_text("")
    (root / "away.py").symlink_to(tmp_path / "outside.py")
    (root / "near.py").symlink_to("train.py")
    (root / "out").symlink_to(tmp_path)
    return root


@pytest.mark.parametrize(
    ("folder", "entry", "shell"),
    [
        ("", "train.py", False),
        ("", "train.py --x=1 a b", False),
        ("", "near.py", False),
        ("src", "../train.py", False),
        ("src", "my script.py", False),
        ("src", "'my script.py' --x", False),
        ("src/pkg", "run.sh arg", True),
        ("", "-m no.such.module", False),
        ("", "-c 'print(1)'", False),
        ("", "echo hello", True),
        ("", "", False),
    ],
)
def test_what_can_be_started(root: Path, folder: str, entry: str, shell: bool) -> None:
    check_start(Start(root, find_working_dir(root, folder), entry, shell))


@pytest.mark.parametrize(
    ("folder", "entry", "code", "text"),
    [
        ("", "trian.py --x", "entry-point-missing", 'entry point "trian.py" is not there. Did you mean "train.py"'),
        ("", "model.py", "entry-point-missing", 'Did you mean "src/model.py"'),
        ("src", "train.py", "entry-point-missing", 'in working folder "src"'),
        ("", "zzz", "entry-point-missing", "is the file committed and pushed"),
        ("", "src", "entry-point-missing", "not there"),
        ("", "../outside.py", "outside-checkout", "leads out"),
        ("", "away.py", "outside-checkout", "leads out"),
        ("", "out/outside.py", "outside-checkout", "leads out"),
        ("", "/etc/passwd", "outside-checkout", "leads out"),
        ("", "x" * 5000, "entry-point-missing", "not there"),
    ],
)
def test_what_cannot(root: Path, folder: str, entry: str, code: str, text: str) -> None:
    with pytest.raises(UserError, match=text) as caught:
        check_start(Start(root, find_working_dir(root, folder), entry))
    assert caught.value.code == code


def test_a_shell_script_that_is_missing(root: Path) -> None:
    with pytest.raises(UserError, match=r'Did you mean "src/pkg/run.sh"'):
        check_start(Start(root, root, "run.sh", shell=True))


@pytest.mark.parametrize(
    ("folder", "code"),
    [
        ("scr", "working-dir-missing"),
        ("train.py", "working-dir-missing"),
        ("..", "outside-checkout"),
        ("out", "outside-checkout"),
    ],
)
def test_a_working_folder_that_is_not_there(root: Path, folder: str, code: str) -> None:
    with pytest.raises(UserError) as caught:
        find_working_dir(root, folder)
    assert caught.value.code == code
    if folder == "scr":
        assert 'Did you mean "src"' in str(caught.value)


def test_a_name_with_blanks_is_one_file(root: Path) -> None:
    assert entry_file(Start(root, root / "src", "my script.py")) == "my script.py"
    assert entry_file(Start(root, root, "my script.py")) == "my"
