"""The sections ``environment`` and ``files``."""

from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearml_agent_clone.config import FilesSection, apply_environment, apply_files, load_settings
from clearml_agent_clone.config.sections import parse_files
from clearml_agent_clone.config.trees import Origin
from clearml_agent_clone.config.yaml_text import to_yaml


def nowhere(_path: str) -> Origin:
    return Origin("test.conf", 1)


def files_of(content: Any, home: Path) -> FilesSection:
    section, problems = parse_files(content, {"HOME": str(home)}, nowhere)
    assert problems == []
    return section


def test_environment(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text(
        'environment { PLAIN: x, NUMBER: 7, VERSION: 1.10, EMPTY: null, FLAG: true, "A.B": 1, MY_TOKEN: t0ken }\n'
    )
    loaded = load_settings(None, {"HOME": str(tmp_path)})
    environ = {"PLAIN": "old", "OTHER": "kept"}
    names = apply_environment(loaded.environment, environ)
    assert environ == {
        "PLAIN": "x",
        "NUMBER": "7",
        "VERSION": "1.10",
        "EMPTY": "",
        "FLAG": "True",
        "A.B": "1",
        "MY_TOKEN": "t0ken",
        "OTHER": "kept",
    }
    assert names == ("PLAIN", "NUMBER", "VERSION", "EMPTY", "FLAG", "A.B", "MY_TOKEN")
    assert loaded.problems == ()
    assert loaded.secrets == {"t0ken"}
    assert "t0ken" not in repr(loaded.environment)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("environment { A { B: 1 } }", "expected text"),
        ("environment { A: [1] }", "expected text"),
        ('environment { "A=B": 1 }', "no variable can have this name"),
        ("environment: 5", "expected an object of variables"),
    ],
)
def test_what_cannot_be_a_variable_is_reported(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "clearml.conf").write_text(text)
    loaded = load_settings(None, {"HOME": str(tmp_path)})
    assert problem in str(loaded.problems)
    assert loaded.environment.variables == {}


def test_pairs(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text("environment: [[A, 1], [B, 2]]")
    assert load_settings(None, {"HOME": str(tmp_path)}).environment.variables == {"A": "1", "B": "2"}


def test_files(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text("""
        files {
            text { path: "~/a/b/text.txt", contents: "line\\n", mode: 640 }
            decoded { path: "$HOME/decoded", contents: "aGVsbG8=", format: base64 }
            raw { path: "~/raw", contents: "/wA=", format: base64, target_format: bytes, mode: "0o400" }
            json { path: "~/j.json", contents { a: [1, x], b { c: null } }, target_format: json }
            yaml { path: "~/y.yaml", contents { a: [1, x], b { c: no } }, target_format: yaml }
            object { path: "~/object", contents { a: 1 } }
        }
    """)
    loaded = load_settings(None, {"HOME": str(tmp_path)})
    assert loaded.problems == ()
    results = apply_files(loaded.files)
    assert str(results[0]) == f"Saved [text]: {tmp_path}/a/b/text.txt"
    assert not any(result.skipped for result in results)
    assert (tmp_path / "a/b/text.txt").read_text() == "line\n"
    assert (tmp_path / "decoded").read_text() == "hello"
    assert (tmp_path / "raw").read_bytes() == b"\xff\x00"
    assert json.loads((tmp_path / "j.json").read_text()) == {"a": [1, "x"], "b": {"c": None}}
    assert (tmp_path / "y.yaml").read_text() == '"a":\n- 1\n- "x"\n"b":\n  "c": "no"\n'
    assert json.loads((tmp_path / "object").read_text()) == {"a": 1}
    modes = {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a/b/text.txt", "raw", "decoded")}
    assert modes == {"a/b/text.txt": 0o640, "raw": 0o400, "decoded": 0o600}


def test_a_file_has_its_mode_from_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = files_of({"a": {"path": str(tmp_path / "a"), "contents": "secret", "mode": 600}}, tmp_path)
    seen: list[int] = []
    replace = Path.replace

    def watch(self: Path, target: Path) -> Path:
        seen.append(stat.S_IMODE(self.stat().st_mode))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watch)
    old = os.umask(0)
    try:
        apply_files(section)
    finally:
        os.umask(old)
    assert seen == [0o600]


def test_a_file_that_is_there(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("old")
    old.chmod(0o755)
    keep = {"x": {"path": str(old), "contents": "new", "overwrite": False}}
    (result,) = apply_files(files_of(keep, tmp_path))
    assert "exists" in str(result)
    assert str(result).startswith("Skipped [x]: ")
    assert old.read_text() == "old"
    apply_files(files_of({"x": {"path": str(old), "contents": "new"}}, tmp_path))
    assert old.read_text() == "new"
    assert stat.S_IMODE(old.stat().st_mode) == 0o755


def test_a_link_keeps_pointing_where_it_points(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    apply_files(files_of({"x": {"path": str(tmp_path / "link"), "contents": "new"}}, tmp_path))
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_what_cannot_be_written_is_skipped_and_the_rest_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    content = {
        "folder": {"path": str(tmp_path), "contents": "x"},
        "below": {"path": str(tmp_path / "file/x"), "contents": "x"},
        "good": {"path": str(tmp_path / "good"), "contents": "x"},
    }
    results = apply_files(files_of(content, tmp_path))
    assert [bool(result.skipped) for result in results] == [True, True, False]
    assert (tmp_path / "good").read_text() == "x"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"contents": "x"}, "path is missing"),
        ({"path": "~/x", "contents": "%%%", "format": "base64"}, "not base64"),
        ({"path": "~/x", "contents": base64.b64encode(b"\xff").decode(), "format": "base64"}, "utf-8"),
        ({"path": "~/x", "contents": "x", "target_format": "bytes"}, "needs contents in base64"),
        ({"path": "~/x", "contents": "x", "target_format": "toml"}, "none of json"),
        ({"path": "~/x", "mode": "rwx"}, "not octal"),
        ({"path": "~/x", "mode": 888}, "not octal"),
        ({"path": "~/x", "overwrite": "maybe"}, "true or false"),
        ("text", "expected an object"),
    ],
)
def test_an_entry_that_makes_no_sense_is_a_problem(tmp_path: Path, entry: Any, message: str) -> None:
    content = {"bad": entry, "good": {"path": "~/good"}}
    section, (problem,) = parse_files(content, {"HOME": str(tmp_path)}, nowhere)
    assert message in problem.message
    assert str(problem).startswith("test.conf:1: files.bad: ")
    assert [item.name for item in section.entries] == ["good"]


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    )
)
def test_yaml_means_what_was_meant(value: Any) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(to_yaml(value)) == value
