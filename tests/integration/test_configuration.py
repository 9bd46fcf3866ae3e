"""The wizard against a real server, and the real SDK reading what the agent hands to tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from clearml_agent_clone.config import load_settings, require_server

from .conftest import Server


def _init(home: Path, *answers: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
    return subprocess.run(
        [sys.executable, "-m", "clearml_agent_clone", "init"],
        input="".join(f"{answer}\n" for answer in answers),
        env={**environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_the_wizard_makes_a_working_file_of_what_the_server_prints(shared_server: Server, home: Path) -> None:
    done = _init(home, shared_server.conf.read_text().partition("api {")[2].join(["api {", ""]), *[""] * 8)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Credentials verified!" in done.stdout
    assert shared_server.secret_key not in done.stdout + done.stderr
    loaded = load_settings(None, {"HOME": str(home)})
    require_server(loaded.settings)
    assert loaded.problems == ()
    api = loaded.settings.api
    assert (api.api_server, api.web_server, api.files_server) == (
        shared_server.api_url,
        shared_server.web_url,
        shared_server.files_url,
    )
    assert (home / "clearml.conf").stat().st_mode & 0o777 == 0o600


def test_the_wizard_writes_nothing_for_a_wrong_secret(shared_server: Server, home: Path) -> None:
    lines = [
        f"CLEARML_API_HOST={shared_server.api_url}",
        f"CLEARML_WEB_HOST={shared_server.web_url}",
        f"CLEARML_API_ACCESS_KEY={shared_server.access_key}",
        "CLEARML_API_SECRET_KEY=wrong-secret",
    ]
    done = _init(home, *lines, "", "", "", "", shared_server.access_key, "wrong-again")
    assert done.returncode == 1
    assert "could not verify credentials" in done.stdout
    assert "wrong-secret" not in done.stdout + done.stderr
    assert "wrong-again" not in done.stdout + done.stderr
    assert list(home.glob("*.conf*")) == []


def test_what_the_server_prints_has_no_problems(shared_server: Server, home: Path) -> None:
    loaded = load_settings(shared_server.conf, {"HOME": str(home)})
    assert loaded.problems == ()
    require_server(loaded.settings)


@pytest.mark.sdk
def test_the_sdk_reads_what_the_agent_hands_on(shared_server: Server, home: Path) -> None:
    (home / "clearml.conf").write_text(
        shared_server.conf.read_text()
        + 'agent.git_pass: "git-secret"\n'
        + 'sdk { development.default_output_uri: "/somewhere", aws.s3.region: "eu-9" }\n'
    )
    handed = home / "task.conf"
    handed.write_text(json.dumps(load_settings(None, {"HOME": str(home)}).tree))
    code = (
        "from clearml.backend_api import Session; from clearml.config import config_obj; s = Session();"
        "print(s.host, s.access_key, s.get_files_server_host(), s.get_app_server_host(),"
        "config_obj.get('sdk.development.default_output_uri'), config_obj.get('sdk.aws.s3.region'))"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
    environ.update(HOME=str(home), CLEARML_CONFIG_FILE=str(handed))
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    expected = [shared_server.api_url, shared_server.access_key, shared_server.files_url, shared_server.web_url]
    assert done.stdout.split() == [*expected, "/somewhere", "eu-9"]
    assert "git-secret" not in handed.read_text()
