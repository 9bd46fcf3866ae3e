from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.launch.command import Entry, build_argv

PYTHON = Path("/env/bin/python")


@pytest.mark.parametrize(
    ("binary", "entry_point", "optimize", "argv"),
    [
        ("python", "train.py", 0, ["/env/bin/python", "-u", "train.py"]),
        ("python3.11", "train.py --lr 0.1", 0, ["/env/bin/python", "-u", "train.py", "--lr", "0.1"]),
        ("", "-m pkg.mod --url https://h//x", 0, ["/env/bin/python", "-u", "-m", "pkg.mod", "--url", "https://h//x"]),
        ("python", "-m 'a b' $HOME", 2, ["/env/bin/python", "-u", "-OO", "-m", "a b", "$HOME"]),
        ("bash", "run.sh 'a b'", 0, ["bash", "run.sh", "a b"]),
        ("/bin/sh", "run.sh", 0, ["/bin/sh", "run.sh"]),
        ("bash", "-c echo 'one two' | cat", 0, ["bash", "-c", "echo 'one two' | cat"]),
    ],
)
def test_arguments_arrive_as_they_were_written(
    binary: str, entry_point: str, optimize: int, argv: list[str], tmp_path: Path
) -> None:
    assert list(build_argv(Entry(binary, entry_point, tmp_path), PYTHON, optimize)) == argv


def test_a_file_name_with_blanks_is_one_argument(tmp_path: Path) -> None:
    (tmp_path / "my train.py").touch()
    assert build_argv(Entry("python", "my train.py", tmp_path), PYTHON)[-1] == "my train.py"


@pytest.mark.parametrize(("entry_point", "code"), [("", "entry-point-missing"), ("a.py 'x", "entry-point-unreadable")])
def test_an_entry_point_that_cannot_be_started_is_named(entry_point: str, code: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        build_argv(Entry("python", entry_point, tmp_path), PYTHON)
    assert caught.value.code == code


def test_python_code_without_a_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="skipped"):
        build_argv(Entry("python", "a.py", tmp_path), None)
