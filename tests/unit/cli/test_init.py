"""``clearml-agent init``: the wizard, with typed input and a stand-in for the login."""

from __future__ import annotations

import argparse
import io
import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clearml_agent_clone.api.errors import CredentialsRefused, ServerUnreachable
from clearml_agent_clone.cli import init
from clearml_agent_clone.cli.wizard import set_up, target_file
from clearml_agent_clone.config import ApiSettings, Loaded, load_settings
from clearml_agent_clone.errors import UserError

CONF = """api {
    # what the web application gives
    web_server: http://h:8080
    api_server: http://h:8008
    files_server: http://h:8081
    credentials {
        "access_key" = "ACCESSKEY"
        "secret_key" = "SECRETKEY"
    }
}"""
ONE_LINE = (
    '{"api": {"api_server": "http://h:8008", "credentials": {"access_key": "ACCESSKEY", "secret_key": "SECRETKEY"}}}\n'
)
PRETTY = """{
  "api": {
    "web_server": "http://h:8080",
    "credentials": {
      "access_key": "ACCESSKEY",
      "secret_key": "SECRETKEY"
    }
  }
}"""
BARE = 'credentials {\n  access_key: "ACCESSKEY"\n  secret_key: "SECRETKEY"\n}'
VARIABLES = """%env CLEARML_WEB_HOST=http://h:8080
export CLEARML_API_HOST="http://h:8008"
CLEARML_FILES_HOST=http://h:8081
TRAINS_API_ACCESS_KEY=ACCESSKEY
CLEARML_API_SECRET_KEY='SECRETKEY'
"""


class Login:
    """Stands in for the login; remembers what it was asked to log in with."""

    def __init__(self, *failures: Exception | None) -> None:
        self.failures = list(failures)
        self.tried: list[ApiSettings] = []

    def __call__(self, api: ApiSettings) -> None:
        self.tried.append(api)
        failure = self.failures.pop(0) if self.failures else None
        if failure:
            raise failure


Answer = Callable[..., int]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "made/clearml.conf"


@pytest.fixture
def answer(target: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    def run(*lines: str, login: Login | None = None) -> int:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return set_up(target, login or Login())

    return run


def load(target: Path) -> Loaded:
    return load_settings(target, {"HOME": str(target.parent)})


@pytest.mark.parametrize("pasted", [CONF, VARIABLES], ids=["conf", "variables"])
def test_a_complete_paste_needs_only_enter(
    answer: Answer, target: Path, capsys: pytest.CaptureFixture[str], pasted: str
) -> None:
    login = Login()
    assert answer(pasted, "", "", "", "", "", "", login=login) == 0
    loaded = load(target)
    assert loaded.problems == ()
    api = loaded.settings.api
    assert (api.web_server, api.api_server, api.files_server) == ("http://h:8080", "http://h:8008", "http://h:8081")
    assert (api.access_key, api.secret_key) == ("ACCESSKEY", "SECRETKEY")
    assert [(tried.api_server, tried.access_key, tried.secret_key) for tried in login.tried] == [
        ("http://h:8008", "ACCESSKEY", "SECRETKEY")
    ]
    out = capsys.readouterr().out
    assert "SECRETKEY" not in out
    assert "Credentials verified!" in out
    assert f"New configuration stored in {target}" in out
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("pasted", "web", "api"),
    [
        (ONE_LINE, "http://h:8080", "http://h:8008"),
        (PRETTY, "http://h:8080", "http://h:8008"),
        (BARE, "https://app.clear.ml", "https://api.clear.ml"),
    ],
    ids=["one line", "pretty", "bare credentials"],
)
def test_other_forms(answer: Answer, target: Path, pasted: str, web: str, api: str) -> None:
    assert answer(pasted, "", "", "", "", "", "") == 0
    settings = load(target).settings
    assert (settings.api.web_server, settings.api.api_server) == (web, api)
    assert (settings.api.access_key, settings.api.secret_key) == ("ACCESSKEY", "SECRETKEY")


def test_defaults_are_not_frozen_into_the_file(answer: Answer, target: Path) -> None:
    answer(CONF, "", "", "", "", "", "")
    text = target.read_text()
    assert len(text.splitlines()) < 40
    assert "venvs_dir" not in text
    assert "default_output_uri" not in text


def test_everything_answered_by_hand(answer: Answer, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nothing_pasted = ""
    credentials = ["", "KEY1", "", "SEC1"]  # empty answers are asked for again
    hosts = ["not a url at all", "localhost:8080", "", ""]
    output = ["x", "C", "s3://bucket/path"]
    git = ["ana", 'to"ken\\with $pecial #chars']
    indexes = ["https://u:indexpw@pypi/simple", "https://other/simple", ""]
    assert answer(nothing_pasted, *credentials, *hosts, *output, *git, *indexes) == 0
    loaded = load(target)
    settings = loaded.settings
    assert settings.api.web_server == "http://localhost:8080"
    assert settings.api.api_server == "http://localhost:8008"
    assert settings.api.files_server == "http://localhost:8081"
    assert (settings.api.access_key, settings.api.secret_key) == ("KEY1", "SEC1")
    assert settings.agent.git.user == "ana"
    assert settings.agent.git.password == 'to"ken\\with $pecial #chars'
    assert settings.agent.package_manager.extra_index_url == ("https://u:indexpw@pypi/simple", "https://other/simple")
    assert loaded.tree["sdk"] == {"development": {"default_output_uri": "s3://bucket/path"}}
    out = capsys.readouterr().out
    assert "pecial" not in out
    assert "indexpw" not in out
    assert "SEC1" not in out


def test_models_go_to_the_server_when_asked(answer: Answer, target: Path) -> None:
    answer(CONF, "", "", "", "S", "", "")
    assert load(target).tree["sdk"]["development"]["default_output_uri"] == "http://h:8081"


@pytest.mark.parametrize(
    ("answers", "hosts"),
    [
        (["https://app.x.io"], ("https://app.x.io", "https://api.x.io", "https://files.x.io")),
        (["demoapp.x.io"], ("https://demoapp.x.io", "https://demoapi.x.io", "https://demofiles.x.io")),
        (["https://api.x.io"], ("https://app.x.io", "https://api.x.io", "https://files.x.io")),
        (["http://h:8008"], ("http://h:8080", "http://h:8008", "http://h:8081")),
        (["http://h:8080/path?q#f"], ("http://h:8080/path", "http://h:8008/path", "http://h:8081/path")),
        (["http://h", "y"], ("http://h:8080", "http://h:8008", "http://h:8081")),
        (["http://h", "n", "1", "2", "x", "3"], ("http://h:1", "http://h:2", "http://h:3")),
        (["http://h", "n", "", "", ""], ("http://h", "http://h", "http://h")),
        (["http://h:9000", "http://h:9001"], ("http://h:9000", "http://h:9001", "http://h:8081")),
        (["app.x.io:8080"], ("http://app.x.io:8080", "http://api.x.io:8080", "http://files.x.io:8080")),
    ],
)
def test_addresses_follow_from_the_first(
    answer: Answer, target: Path, answers: list[str], hosts: tuple[str, str, str]
) -> None:
    asked_again = [] if len(answers) == 2 and answers[1].startswith("http") else [""]
    answer(BARE, *answers, *asked_again, "", "", "", "")
    api = load(target).settings.api
    assert (api.web_server, api.api_server, api.files_server) == hosts


def test_the_api_server_alone(answer: Answer, target: Path) -> None:
    answer('api { api_server: "http://h:8008"\n' + BARE + "\n}", "", "", "", "", "", "")
    api = load(target).settings.api
    assert (api.web_server, api.api_server, api.files_server) == ("http://h:8080", "http://h:8008", "http://h:8081")


def test_a_file_that_is_there_is_left_alone(answer: Answer, target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target.parent.mkdir()
    target.write_text("this is { not even HOCON")
    assert answer() == 0
    assert f"Configuration file already exists: {target}" in capsys.readouterr().out
    assert target.read_text() == "this is { not even HOCON"


def test_an_empty_file_is_filled(answer: Answer, target: Path) -> None:
    target.parent.mkdir()
    target.touch(0o644)
    assert answer(CONF, "", "", "", "", "", "") == 0
    assert load(target).settings.api.access_key == "ACCESSKEY"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_refused_credentials_can_be_typed_once_more(
    answer: Answer, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    login = Login(CredentialsRefused("the server refuses the key"))
    assert answer(CONF, "", "", "", "OTHERKEY", "OTHERSECRET", "", "", "", login=login) == 0
    assert load(target).settings.api.secret_key == "OTHERSECRET"
    assert "the server refuses the key" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("login", "more"),
    [
        (Login(CredentialsRefused("no"), CredentialsRefused("no")), ["OTHERKEY", "OTHERSECRET"]),
        (Login(ServerUnreachable("nobody there")), []),
    ],
)
def test_a_failed_verification_leaves_nothing_behind(
    answer: Answer, target: Path, capsys: pytest.CaptureFixture[str], login: Login, more: list[str]
) -> None:
    assert answer(CONF, "", "", "", *more, login=login) == 1
    assert not target.parent.exists()
    out = capsys.readouterr().out
    assert "Exiting setup without creating configuration file" in out
    assert "SECRET" not in out


@pytest.mark.parametrize("count", range(9))
def test_input_that_ends_early_leaves_nothing_behind(answer: Answer, target: Path, count: int) -> None:
    lines = ["", "KEY", "SECRET", "http://h:8080", "", "", "", "", ""]
    with pytest.raises(UserError, match="the input ended at") as caught:
        answer(*lines[:count])
    assert caught.value.code == "end-of-input"
    assert not target.parent.exists()


def test_control_characters_are_not_taken(answer: Answer, target: Path) -> None:
    answer(CONF, "", "", "", "", "a\x1b[1mna", "ana", "token", "")
    assert load(target).settings.agent.git.user == "ana"


def test_which_file_is_written(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert target_file(None, environ) == tmp_path / "clearml.conf"
    assert target_file("~/x.conf", environ) == tmp_path / "x.conf"
    assert target_file(None, {**environ, "CLEARML_CONFIG_FILE": "~/y.conf"}) == tmp_path / "y.conf"
    assert target_file("~/x.conf", {**environ, "TRAINS_CONFIG_FILE": "~/y.conf"}) == tmp_path / "x.conf"
    (tmp_path / "trains.conf").write_text("a: 1")
    assert target_file(None, environ) == tmp_path / "trains.conf"
    (tmp_path / "clearml.conf").write_text("a: 1")
    assert target_file(None, environ) == tmp_path / "clearml.conf"


def test_the_command_takes_its_target_from_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there.conf").write_text("a: 1")
    parser = argparse.ArgumentParser()
    parser.add_argument("--config-file")
    init.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["--config-file", str(tmp_path / "there.conf"), "init"])
    assert arguments.run(arguments) == 0
    assert "already exists" in capsys.readouterr().out


def test_a_secret_is_not_echoed_on_a_terminal(tmp_path: Path) -> None:
    """On a real terminal, where what is typed comes back unless the program turns that off."""
    code = f"from pathlib import Path; from clearml_agent_clone.cli.wizard import set_up; set_up(Path({str(tmp_path / 'c.conf')!r}), lambda api: None)"
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    shown = ""
    try:
        for prompt, typed in (
            ("an empty line:", ""),
            ("access key: ", "VISIBLEKEY"),
            ("user secret: ", "HIDDENSECRET"),
            ("WEB Host", "http://h:8080"),
            ("API Host", ""),
            ("File Store", ""),
            ("Output URI", ""),
            ("git username", "ana"),
            ("git personal token", "HIDDENTOKEN"),
            ("artifact repository", ""),
        ):
            shown = _read_until(master, prompt, shown)
            os.write(master, f"{typed}\n".encode())
        shown = _read_until(master, "completed successfully", shown)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert "VISIBLEKEY" in shown
    assert "HIDDEN" not in shown
    assert "HIDDENTOKEN" in (tmp_path / "c.conf").read_text()


def _read_until(terminal: int, text: str, shown: str) -> str:
    deadline = time.monotonic() + 30
    while text not in shown.rpartition("\r\n")[2] and text not in shown[-300:]:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096).decode()
    return shown
