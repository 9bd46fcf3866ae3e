"""``CLEARML_AGENT__…``: what a value means."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clearml_agent_clone.config import load_settings
from clearml_agent_clone.config.overrides import key_of, layer, value_of
from clearml_agent_clone.errors import UserError

FREE = "CLEARML_AGENT__SDK__SOME__KEY"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("bob", "bob"),
        ('"p@ss:w#x"', "p@ss:w#x"),
        ("p@ss", "p@ss"),
        ("a,b", "a,b"),
        ("a{b", "a{b"),
        ("a=b", "a=b"),
        ("a # c", "a # c"),
        ("$HOME/x", "$HOME/x"),
        ("${HOME}/x", "/home/u/x"),
        ("x${?NOT_THERE}y", "xy"),
        ("10", 10),
        ("010", 10),
        ("+5", 5),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("null", None),
        ("", ""),
        (" spaced ", "spaced"),
        ('["a","b"]', ["a", "b"]),
        ("[a, b]", ["a", "b"]),
        ('{"a":1}', {"a": 1}),
        ("{a: 1, b { c = x } }", {"a": 1, "b": {"c": "x"}}),
        ('"007"', "007"),
        ('"true"', "true"),
        ("5m", "5m"),
        ("10 minutes", "10 minutes"),
        ("http://h:8008/x", "http://h:8008/x"),
        ("NaN", "NaN"),
        ("line\nbreak: x", "line\nbreak: x"),
    ],
)
def test_meaning_of_a_value(text: str, value: object) -> None:
    found = value_of(FREE, text, {"HOME": "/home/u"})
    assert found == value
    assert type(found) is type(value)


@settings(deadline=None)
@given(json_values.filter(lambda value: not isinstance(value, str)))
def test_json_means_itself(value: Any) -> None:
    found = value_of(FREE, json.dumps(value), {})
    assert found == value


@settings(deadline=None)
@given(st.text())
def test_quoted_text_means_itself_for_every_key(text: str) -> None:
    for name in (FREE, "CLEARML_AGENT__AGENT__GIT_PASS"):
        assert value_of(name, json.dumps(text), {}) == text


@settings(deadline=None)
@given(st.text(alphabet=st.characters(exclude_characters="$\0", exclude_categories=["Cs"])))
def test_bare_text_is_never_an_error_and_never_changed_where_text_is_expected(text: str) -> None:
    text = text.strip()
    if text[:1] in ("{", "[", '"') or text.lower() in ("null", "none"):
        return
    assert value_of("CLEARML_AGENT__AGENT__GIT_PASS", text, {}) == text


@given(st.text(alphabet='{}[]",:$ab01.#\\ \n', min_size=1))
@settings(max_examples=200, deadline=None)  # HOCON is slow, and so may be the machine
def test_nothing_fails_but_with_the_name_of_the_variable(text: str) -> None:
    with contextlib.suppress(UserError):
        value_of(FREE, text, {})
        return
    with pytest.raises(UserError, match=FREE):
        value_of(FREE, text, {})


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers(number: float) -> None:
    assert math.isclose(value_of(FREE, repr(number), {}), number)


@pytest.mark.parametrize("text", ['{"a": ', "[1, 2", '"open', '{"a": p@ss}', '"a" "b"'])
def test_what_begins_like_json_and_is_none_names_the_variable_and_not_the_value(text: str) -> None:
    with pytest.raises(UserError, match=FREE) as caught:
        value_of(FREE, text, {})
    assert text not in str(caught.value)


def test_a_substitution_that_is_not_set_names_both_variables() -> None:
    with pytest.raises(UserError, match=rf"{FREE}.*NOT_THERE"):
        value_of(FREE, "${NOT_THERE}/x", {})


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("DEFAULT_PYTHON", "3.10", "3.10"),
        ("GIT_PASS", "007", "007"),
        ("CUDA_VERSION", "12.0", "12.0"),
        ("GIT_USER", "true", "true"),
    ],
)
def test_a_key_that_holds_text_gets_the_text(key: str, text: str, value: str) -> None:
    assert value_of(f"CLEARML_AGENT__AGENT__{key}", text, {}) == value


def test_the_path_is_lower_cased_and_split() -> None:
    assert key_of("CLEARML_AGENT__AGENT__DEFAULT_DOCKER__IMAGE") == "agent.default_docker.image"
    assert key_of("CLEARML_AGENT__agent__Git_User") == "agent.git_user"


def test_objects_are_merged_and_everything_else_replaced() -> None:
    environ = {
        "CLEARML_AGENT__AGENT__VCS_CACHE": '{"enabled": false, "path": "/a"}',
        "CLEARML_AGENT__AGENT__VCS_CACHE__PATH": "/b",
    }
    assert layer(environ).tree == {"agent": {"vcs_cache": {"enabled": False, "path": "/b"}}}


@pytest.mark.parametrize("name", ["CLEARML_AGENT__", "CLEARML_AGENT____X"])
def test_a_name_without_a_key_is_an_error(name: str) -> None:
    with pytest.raises(UserError, match=name):
        layer({name: "1"})


def test_an_override_wins_over_the_file_and_says_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text("agent { venvs_cache { max_entries: 3, path: /x } }\n")
    name = "CLEARML_AGENT__AGENT__VENVS_CACHE__MAX_ENTRIES"
    loaded = load_settings(None, {"HOME": str(tmp_path), name: "7"})
    assert loaded.settings.agent.venvs_cache.max_entries == 7
    assert loaded.settings.agent.venvs_cache.path == Path("/x")
    assert str(loaded.origins["agent.venvs_cache.max_entries"]) == name
    assert str(loaded.origins["agent.venvs_cache.path"]) == f"{tmp_path}/clearml.conf:1"


def test_an_unknown_key_in_a_name_is_reported_with_the_nearest(tmp_path: Path) -> None:
    name = "CLEARML_AGENT__AGENT__DEFALT_DOCKER__IMAGE"
    (problem,) = load_settings(None, {"HOME": str(tmp_path), name: "x"}).problems
    assert problem.file == name
    assert "default_docker" in problem.suggestion


def test_the_other_variables_win_over_an_override(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CLEARML_AGENT__AGENT__WORKER_NAME": "a", "CLEARML_WORKER_NAME": "b"}
    assert load_settings(None, environ).settings.agent.worker_name == "b"
