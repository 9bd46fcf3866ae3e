"""Scripts written from the task."""

from __future__ import annotations

from pathlib import Path

import pytest

from clearml_agent_clone.errors import UserError
from clearml_agent_clone.source.literal import Literal, after_future_imports, first_word, write_literal

HEAD = "from clearml import Task\nTask.init()\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import os\n", "import os\n"),
        (HEAD + "import os\n", HEAD + "import os\n"),
        (
            HEAD + "from __future__ import annotations\nimport os\n",
            "from __future__ import annotations\n" + HEAD + "import os\n",
        ),
        (
            HEAD + '"""Doc."""\nfrom __future__ import (\n    annotations,\n    division,\n)\nx = 1\n',
            '"""Doc."""\nfrom __future__ import (\n    annotations,\n    division,\n)\n' + HEAD + "x = 1\n",
        ),
        (HEAD + "from __future__ import annotations", "from __future__ import annotations\n" + HEAD),
        (
            "from clearml import Task\nx = 1\nfrom __future__ import x\n",
            "from clearml import Task\nx = 1\nfrom __future__ import x\n",
        ),
    ],
)
def test_the_sdk_starts_after_future_imports(text: str, expected: str) -> None:
    assert after_future_imports(text) == expected


def test_what_is_moved_still_compiles() -> None:
    compile(after_future_imports(HEAD + "from __future__ import annotations\nx: int = 1\n"), "x", "exec")


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("old")
    assert not write_literal(Literal("a.py", "new"), tmp_path, tmp_path)
    assert (tmp_path / "a.py").read_text() == "old"


@pytest.mark.parametrize("name", ["../a.py", "/etc/a.py", "out/a.py", "deep/../../a.py"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(UserError) as caught:
        write_literal(Literal(name, "x"), root, root)
    assert caught.value.code == "outside-checkout"
    assert not (tmp_path / "a.py").exists()


def test_a_link_to_nowhere_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.py").symlink_to(tmp_path / "victim")
    with pytest.raises(UserError):
        write_literal(Literal("a.py", "x"), root, root)
    assert not (tmp_path / "victim").exists()


def test_bytes_that_were_no_text_come_back(tmp_path: Path) -> None:
    write_literal(Literal("a/b.py", "x = '\udce9é'\n"), tmp_path, tmp_path)
    assert (tmp_path / "a" / "b.py").read_bytes() == b"x = '\xe9\xc3\xa9'\n"


@pytest.mark.parametrize(
    ("entry", "word", "rest"),
    [
        ("a.py --x  1", "a.py", " --x  1"),
        ('"a b.py" c', "a b.py", " c"),
        ("'a b.py'", "a b.py", ""),
        ("", "", ""),
        ("it's.py x", "it's.py", " x"),
    ],
)
def test_the_first_word_of_an_entry_point(entry: str, word: str, rest: str) -> None:
    assert first_word(entry) == (word, rest)
