"""HOCON as users write it, and errors that they can act on."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from clearml_agent_clone.config.hocon import parse_file, parse_text
from clearml_agent_clone.errors import UserError


def values(text: str, **environ: str) -> dict[str, Any]:
    return parse_text(text, "test.conf", environ=environ).tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a: http://h:80/x # c\nb = x // y\n", {"a": "http://h:80/x", "b": "x"}),
        ("a: 007\nb: +5\nc: 1e3\nd: 1.50\n", {"a": 7, "b": 5, "c": 1000.0, "d": 1.5}),
        ("a: yes, b: TRUE\nc: Null", {"a": "yes", "b": True, "c": None}),
        ("a = [1, 2,\n 3\n4,]", {"a": [1, 2, 3, 4]}),
        ("a = [1]\na += [2]", {"a": [1, 2]}),
        ("a: foo bar  baz # c", {"a": "foo bar  baz"}),
        ("a: {b:1} {c:2}", {"a": {"b": 1, "c": 2}}),
        ("a: ${b}\nb: 5", {"a": 5, "b": 5}),
        ("a: ${?NOPE}\nb: 1", {"b": 1}),
        ("a: ${VALUE}/x", {"a": "from env/x"}),
        ('a: "${VALUE}"', {"a": "${VALUE}"}),
        ("a.b.c = 1\na { b { d = 2 } }", {"a": {"b": {"c": 1, "d": 2}}}),
        ("{a: 1, b: [{c: 2}]}", {"a": 1, "b": [{"c": 2}]}),
        ('{"a": {"b": [1, "x", null, true]}}', {"a": {"b": [1, "x", None, True]}}),
        ('a: """x\ny"""', {"a": "x\ny"}),
        ('a: """\n# no comment\n"""', {"a": "\n# no comment\n"}),
        ('a: "x\\ty\\\\ \\""', {"a": 'x\ty\\ "'}),
        ("a: 5 minutes\nb: 1", {"a": "5 minutes", "b": 1}),
        ("a: 5m", {"a": "5m"}),
        ("a: [5 d, 1h]\nb { c: 2 weeks }", {"a": ["5 d", "1h"], "b": {"c": "2 weeks"}}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("a: é\nk: 'x'", {"a": "é", "k": "'x'"}),
        ("a: [\n  # c\n  1 # d\n  // e\n  2\n]", {"a": [1, 2]}),
        ('"a.b": 1\nc { "x y": 2 }', {"a.b": 1, "c": {"x y": 2}}),
        ("", {}),
        ("# only a comment", {}),
        ("  \n\n", {}),
    ],
)
def test_dialect(text: str, tree: dict[str, Any]) -> None:
    assert values(text, VALUE="from env") == tree


def test_numbers_stay_as_written_where_text_is_expected() -> None:
    text = (
        "agent { default_python: 3.10, git_pass: 007, venvs_cache.max_entries: 010 }\nenvironment { V: 1.10, N: 5 }\n"
    )
    assert values(text) == {
        "agent": {"default_python": "3.10", "git_pass": "007", "venvs_cache": {"max_entries": 10}},
        "environment": {"V": "1.10", "N": 5},
    }


def test_a_number_that_was_replaced_does_not_come_back() -> None:
    assert values("agent.git_pass: 007\nagent.git_pass: ${n}\nn: 5\n")["agent"] == {"git_pass": 5}


def test_an_object_has_the_place_of_its_first_key() -> None:
    layer = parse_text("x: 1\nagent.a.b: 1\nagent.a.c: 2\n", "f", environ={}).layer(Path("f"))
    assert str(layer.origin("agent.a")) == "f:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "agent {\n  git_pass: p@ss\n}\n",
            'test.conf:2: "@" was not expected here (column 14, in the value of git_pass)',
        ),
        ("# c\n# c\na: x+y\n", 'test.conf:3: "+" was not expected'),
        ("a {\n  b: 1\n  c {\n d: 2\n", "the brace or bracket opened in line 3 is never closed"),
        ("a: ${NOPE}\n", "test.conf:1: ${NOPE} is neither a key of this file nor an environment variable"),
        ("a: ${b}\nb: ${a}\n", "test.conf: substitutions refer to each other in a circle"),
        ("a = [1,2\nb=3\n", 'test.conf:2: "=" was not expected'),
        ('a: "x\ny"\n', "test.conf:1: a double quote was not expected"),
        ("agent }\n", 'test.conf:1: "}" was not expected'),
        ("a b\n", "the line is not complete"),
        ("[1, 2]", "test.conf: the file holds a list"),
        ("a: 5\na.b: 1\n", "values of different kinds are joined"),
    ],
)
def test_an_error_names_the_line_and_says_what_to_do(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        values(text)
    assert message in str(caught.value)
    assert caught.value.code == "config-syntax"
    assert "\n" not in str(caught.value)


def test_an_error_does_not_repeat_a_value() -> None:
    for text in ("git_pass: hunter@22", "a: [hunter22] x", 'git_pass: "hunter22\n', "a: hunter22\na.b: 1"):
        with pytest.raises(UserError) as caught:
            values(text)
        assert "hunter" not in str(caught.value)


def test_lines_of_keys() -> None:
    text = """\
# comment
api { # one
  api_server: http://h:8008  // c
  credentials {"access_key" = "A{}#", "secret_key" = "S"}
}
agent.git_user="u", agent.git_host: h
agent {
  list = [
     "u1", {a: 2}
  ]
  text = \"\"\"a
  } {
  \"\"\"
  a = {b: 1} {c: 2}
  spaced key = 5
}
last
 =
 5
"""
    assert parse_text(text, "f", environ={}).lines == {
        "api": 2,
        "api.api_server": 3,
        "api.credentials": 4,
        "api.credentials.access_key": 4,
        "api.credentials.secret_key": 4,
        "agent": 7,
        "agent.git_user": 6,
        "agent.git_host": 6,
        "agent.list": 8,
        "agent.text": 11,
        "agent.a": 14,
        "agent.a.b": 14,
        "agent.a.c": 14,
        "agent.spaced key": 15,
        "last": 17,
    }


def test_the_last_assignment_is_the_origin() -> None:
    assert parse_text("a: 1\nb: 2\na: 3\n", "f", environ={}).lines["a"] == 3


def test_includes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "main.conf").write_text('agent { include "deep/one.conf"\n b: 2 }\ninclude file("nope.conf")\nc: 3\n')
    (tmp_path / "deep/one.conf").write_text('include required("two.conf")\na: 1\n')
    (tmp_path / "deep/two.conf").write_text("\ndefault_python: 3.10\n")
    parsed = parse_file(tmp_path / "main.conf", {})
    assert parsed.tree == {"agent": {"default_python": "3.10", "a": 1, "b": 2}, "c": 3}
    assert parsed.files == [tmp_path / "deep/one.conf", tmp_path / "deep/two.conf", tmp_path / "nope.conf"]
    assert parsed.missing == [(3, "nope.conf")]
    layer = parsed.layer(tmp_path / "main.conf")
    assert str(layer.origin("agent.a")) == f"{tmp_path}/deep/one.conf:2"
    assert str(layer.origin("agent.default_python")) == f"{tmp_path}/deep/two.conf:2"
    assert str(layer.origin("agent.b")) == f"{tmp_path}/main.conf:2"


def test_a_circle_of_includes_ends(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text('include "b.conf"\n')
    (tmp_path / "b.conf").write_text('include "a.conf"\n')
    with pytest.raises(UserError, match=r"a\.conf includes itself"):
        parse_file(tmp_path / "a.conf", {})


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "a.conf").write_text('\n\ninclude "b.conf"\n')
    (tmp_path / "b.conf").write_text("x: 1\ny: a@b\n")
    with pytest.raises(UserError, match=r"b\.conf:2: "):
        parse_file(tmp_path / "a.conf", {})


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"a: caf\xe9\n")
    with pytest.raises(UserError, match="not UTF-8"):
        parse_file(tmp_path / "latin", {})
    with pytest.raises(UserError, match="cannot read"):
        parse_file(tmp_path / "nope", {})
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert parse_file(tmp_path / "bom", {}).tree == {"a": 1}


def test_what_was_looked_up_in_the_environment_is_noted() -> None:
    parsed = parse_text("a: ${ONE}\nb: ${?TWO}\nc: ${a}\n", "f", environ={"ONE": "1"})
    assert parsed.variables == {"ONE": "1", "TWO": None}


def test_threads_do_not_share_an_environment() -> None:
    found: dict[str, str] = {}

    def parse(name: str) -> None:
        found[name] = parse_text("a: ${NAME}\n", "f", environ={"NAME": name}).tree["a"]

    threads = [threading.Thread(target=parse, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: name for name in found}
    assert len(found) == 8
