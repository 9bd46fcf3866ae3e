"""``clearml-agent config``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_agent_clone import __version__
from clearml_agent_clone.cli import config
from clearml_agent_clone.errors import UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("CLEARML_", "TRAINS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config-file")
    parser.add_argument("--debug", action="store_true")
    config.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(words)
    return int(arguments.run(arguments))


def test_lines_as_the_classic_agent_prints_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "clearml.conf").write_text(
        'api.api_server: http://h:8008\nagent { git_pass: s3cret-word, uptime: ["8-17 MON"], git_user: "a=b!#" }\n'
        'sdk { list: [1, { x: true }], empty: [], none: null, text: "two\\nlines" }\n'
    )
    assert run("config") == 0
    out, err = capsys.readouterr()
    lines = out.split("\n")
    assert lines[0] == f"Current configuration (clearml_agent v{__version__}, location: {home}/clearml.conf):"
    assert lines[1] == "-" * 22
    assert lines[-2:] == ["", ""]
    for line in (
        "api.api_server = http://h:8008",
        "api.files_server = http://h:8081",
        "api.verify_certificate = true",
        "agent.git_pass = ****",
        "agent.uptime.0 = 8-17 MON",
        "agent.git_user = a\\=b\\!\\#",
        "agent.venvs_cache.max_entries = 10",
        f"agent.venvs_dir = {home}/.clearml/venvs-builds",
        "sdk.list.0 = 1",
        "sdk.list.1.x = true",
        "sdk.text = two\\",
    ):
        assert line in lines, line
    assert "s3cret-word" not in out
    assert not any(line.startswith(("sdk.none", "sdk.empty")) for line in lines)
    assert err == ""


def test_without_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config") == 0
    assert capsys.readouterr().out.startswith(f"Current configuration (clearml_agent v{__version__}, location: None):")


def test_origins(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "clearml.conf").write_text("\napi.api_server: http://h:8008\n")
    monkeypatch.setenv("TRAINS_WORKER_NAME", "w")
    monkeypatch.setenv("CLEARML_AGENT__AGENT__VENVS_CACHE__MAX_ENTRIES", "3")
    assert run("--debug", "config", "--origin") == 0
    lines = capsys.readouterr().out.splitlines()
    for line in (
        f"api.api_server = http://h:8008  # {home}/clearml.conf:2",
        "api.web_server = http://h:8080  # derived from api.api_server",
        "agent.worker_name = w  # TRAINS_WORKER_NAME",
        "agent.venvs_cache.max_entries = 3  # CLEARML_AGENT__AGENT__VENVS_CACHE__MAX_ENTRIES",
        "agent.debug = true  # command line",
        "agent.translate_ssh = true  # default",
    ):
        assert line in lines, line


def test_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "clearml.conf").write_text("agent { git_pass: s3cret-word, git_usr: x }\n")
    assert run("config", "--json", "--origin") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert report["files"] == [f"{home}/clearml.conf"]
    assert report["values"]["agent"]["git_pass"] == "****"
    assert report["values"]["agent"]["package_manager"]["type"] == "pip"
    assert report["origins"]["agent.git_pass"] == f"{home}/clearml.conf:1"
    assert report["problems"][0]["key"] == "agent.git_usr"
    assert 'Did you mean "git_user"' in err


def test_problems_go_to_stderr_and_an_error_to_the_exit_code(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "clearml.conf").write_text("agent.transalte_ssh: on\napi.api_server: h:8008\n")
    assert run("config") == 1
    out, err = capsys.readouterr()
    assert "transalte_ssh" in out
    assert f'warning: {home}/clearml.conf:1: agent.transalte_ssh: unknown key. Did you mean "translate_ssh"?' in err
    assert f'error: {home}/clearml.conf:2: api.api_server: "h:8008" does not begin with http:// or https://' in err


def test_the_flag_names_the_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "other.conf").write_text("agent.git_user: other\n")
    assert run("--config-file", "~/other.conf", "config") == 0
    assert "agent.git_user = other" in capsys.readouterr().out
    with pytest.raises(UserError, match="no such file"):
        run("--config-file", "~/nope.conf", "config")


def test_the_module_imports_little() -> None:
    """The parser of the whole command line is built from it, so it must cost nothing."""
    code = "import sys; from clearml_agent_clone.cli import config, init; print(*sys.modules)"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"attrs", "pyhocon", "requests", "clearml_agent_clone.config", "clearml_agent_clone.api"} & set(names)
