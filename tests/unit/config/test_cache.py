"""Parsed files are remembered, and forgotten when anything that they depend on changes."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_agent_clone.config import load_settings
from clearml_agent_clone.config.cache import read_config
from clearml_agent_clone.errors import UserError

PROBE = """
import sys
from pathlib import Path
from clearml_agent_clone.config import load_settings
loaded = load_settings()
print(loaded.settings.agent.git.user, loaded.origins["agent.git_user"].line, "pyhocon" in sys.modules)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "clearml.conf").write_text("# c\nagent.git_user: one\n")
    return tmp_path


def entries(home: Path) -> list[Path]:
    return sorted((home / ".clearml/agent/config-cache").glob("*"))


def user(home: Path, **variables: str) -> str:
    return load_settings(None, {"HOME": str(home), **variables}).settings.agent.git.user


def in_new_process(home: Path) -> str:
    environ = {**os.environ, "HOME": str(home)}
    return subprocess.run(
        [sys.executable, "-c", PROBE], env=environ, capture_output=True, text=True, check=True
    ).stdout.strip()


def test_a_hit_does_not_even_load_the_parser(home: Path) -> None:
    assert in_new_process(home) == "one 2 True"
    assert in_new_process(home) == "one 2 False"


APART = """
import sys
from clearml_agent_clone.config import load_settings
loaded = load_settings(apart=True)
print(loaded.settings.agent.git.user, loaded.origins["agent.git_user"].line, "pyhocon" in sys.modules)
"""


def test_another_process_can_do_the_parsing(home: Path) -> None:
    (home / "clearml.conf").write_text("agent.git_user: ${WHO}\n")
    environ = {**os.environ, "HOME": str(home), "WHO": "ana"}
    command = [sys.executable, "-c", APART]
    assert subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout == "ana 1 False\n"


def test_another_process_that_fails_is_no_harm(home: Path) -> None:
    (home / "clearml.conf").write_text("agent.git_user: a@b\n")
    with pytest.raises(UserError, match=r"clearml\.conf:1"):
        load_settings(None, {"HOME": str(home)}, apart=True)
    (home / "clearml.conf").write_text("agent.git_user: one\n")
    blocked = {"HOME": str(home), "CLEARML_AGENT_STATE_DIR": str(home / "clearml.conf")}
    assert load_settings(None, blocked, apart=True).settings.agent.git.user == "one"


def test_without_any_file_the_parser_is_not_loaded(tmp_path: Path) -> None:
    assert in_new_process(tmp_path) == "None False"


def test_entries_are_private(home: Path) -> None:
    user(home)
    (entry,) = entries(home)
    assert stat.S_IMODE(entry.stat().st_mode) == 0o600
    assert stat.S_IMODE(entry.parent.stat().st_mode) == 0o700


def test_a_changed_file_is_read_again(home: Path) -> None:
    assert user(home) == "one"
    before = (home / "clearml.conf").stat()
    (home / "clearml.conf").write_text("# c\nagent.git_user: two\n")
    assert (home / "clearml.conf").stat().st_size == before.st_size
    assert user(home) == "two"
    assert len(entries(home)) == 1


def test_a_replaced_file_is_read_again_even_with_the_old_time(home: Path) -> None:
    assert user(home) == "one"
    file = home / "clearml.conf"
    before = file.stat()
    other = home / "other"
    other.write_text("# c\nagent.git_user: two\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert user(home) == "two"


def test_a_substituted_variable_counts(home: Path) -> None:
    (home / "clearml.conf").write_text("agent.git_user: ${WHO}\nagent.git_host: ${?WHERE}\n")
    assert user(home, WHO="ana") == "ana"
    assert user(home, WHO="ben") == "ben"
    loaded = load_settings(None, {"HOME": str(home), "WHO": "ben", "WHERE": "h"})
    assert loaded.settings.agent.git.host == "h"
    text = entries(home)[0].read_text()
    assert '"WHO": "ben"' not in text  # names and digests of variables, not what they hold


def test_an_included_file_counts(home: Path) -> None:
    (home / "clearml.conf").write_text('include "more.conf"\n')
    first = load_settings(None, {"HOME": str(home)})
    assert "more.conf" in str(first.problems[0])
    assert [str(problem) for problem in load_settings(None, {"HOME": str(home)}).problems] == [
        str(problem) for problem in first.problems
    ]
    (home / "more.conf").write_text("agent.git_user: more\n")
    assert user(home) == "more"
    (home / "more.conf").write_text("agent.git_user: less\n")
    assert user(home) == "less"
    loaded = load_settings(None, {"HOME": str(home)})
    assert str(loaded.origins["agent.git_user"]) == f"{home}/more.conf:1"


def test_a_pattern_of_includes_is_not_remembered(home: Path) -> None:
    (home / "parts").mkdir()
    (home / "parts/a.conf").write_text("agent.git_host: a\n")
    (home / "clearml.conf").write_text('include "parts/*.conf"\n')
    assert user(home) == ""
    (home / "parts/b.conf").write_text("agent.git_user: b\n")
    assert user(home) == "b"
    assert entries(home) == []


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 99}', '"x"'])
def test_a_damaged_entry_is_replaced(home: Path, damage: str) -> None:
    user(home)
    (entry,) = entries(home)
    entry.write_text(damage)
    assert user(home) == "one"
    assert json.loads(entry.read_text())["tree"]["agent"]["git_user"] == "one"


def test_an_entry_that_others_could_have_written_is_not_believed(home: Path) -> None:
    user(home)
    (entry,) = entries(home)
    forged = json.loads(entry.read_text())
    forged["tree"]["agent"]["git_user"] = "mallory"
    entry.write_text(json.dumps(forged))
    assert user(home) == "mallory"  # as private as it should be, so it counts
    entry.chmod(0o620)
    assert user(home) == "one"


def test_a_state_folder_that_cannot_be_used_costs_only_time(home: Path) -> None:
    (home / "blocked").write_text("a file, not a folder")
    assert user(home, CLEARML_AGENT_STATE_DIR=str(home / "blocked")) == "one"
    assert user(home, CLEARML_AGENT_STATE_DIR=str(home / "blocked/deeper")) == "one"


def test_the_state_folder_of_the_environment_holds_the_entries(home: Path) -> None:
    user(home, CLEARML_AGENT_STATE_DIR=str(home / "s"))
    assert len(list((home / "s/config-cache").iterdir())) == 1
    user(home, CLEARML_AGENT__AGENT__STATE_DIR=str(home / "t"))
    assert len(list((home / "t/config-cache").iterdir())) == 1
    assert entries(home) == []


def test_the_same_file_below_two_keys_has_two_entries(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("git_user: x\n")
    folder = tmp_path / "cache"
    for _ in range(2):
        assert read_config(file, {}, below="agent", folder=folder).tree == {"agent": {"git_user": "x"}}
        assert read_config(file, {}, below="sdk.a", folder=folder).tree == {"sdk": {"a": {"git_user": "x"}}}
    assert len(list(folder.iterdir())) == 2
