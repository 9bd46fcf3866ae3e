"""Layers, origins, problems: what ``load_settings`` makes of files and environment."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from clearml_agent_clone.config import Credential, Loaded, Origin, load_settings, reload, require_server
from clearml_agent_clone.errors import UserError

WIZARD_FILE = """\
# CLEARML-AGENT configuration file
api {
    # Notice: 'host' is the api server (default port 8008), not the web server.
    api_server: http://clearml.local:8008
    web_server: http://clearml.local:8080
    files_server: http://clearml.local:8081
    # Credentials are generated using the webapp, http://clearml.local:8080/settings
    credentials {"access_key": "AKAKAKAK", "secret_key": "SKSKSKSK"}
}

# Set GIT user/pass credentials
agent.git_user="bob"
agent.git_pass="tok-123"

agent.package_manager.extra_index_url= [
    "https://u:pw1234@pypi.local/simple"
]

agent {
    package_manager: {
        type: pip,
        conda_channels: ["pytorch", "conda-forge", "defaults", ]
    },
    venvs_dir = ~/.clearml/venvs-builds
}
sdk { aws { s3 { key: "", secret: "s3-secret" } } }
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def load(home: Path, text: str | None = None, **variables: str) -> Loaded:
    if text is not None:
        (home / "clearml.conf").write_text(text)
    return load_settings(None, {"HOME": str(home), **variables})


def test_a_file_as_the_classic_wizard_writes_it(home: Path) -> None:
    loaded = load(home, WIZARD_FILE)
    assert loaded.problems == ()
    api, agent = loaded.settings.api, loaded.settings.agent
    assert (api.api_server, api.access_key, api.secret_key) == ("http://clearml.local:8008", "AKAKAKAK", "SKSKSKSK")
    assert (agent.git.user, agent.git.password) == ("bob", "tok-123")
    assert agent.package_manager.extra_index_url == ("https://u:pw1234@pypi.local/simple",)
    assert agent.package_manager.conda_channels == ("pytorch", "conda-forge", "defaults")
    assert agent.venvs_dir == home / ".clearml/venvs-builds"
    assert loaded.settings.config_files == (home / "clearml.conf",)
    assert loaded.secrets == {"SKSKSKSK", "tok-123", "pw1234", "s3-secret"}


def test_a_password_in_a_url_is_known_as_it_stands_and_decoded(home: Path) -> None:
    loaded = load(home, 'agent.package_manager.extra_index_url: "https://u:p%40ssword@h/simple"\n')
    assert loaded.secrets == {"p%40ssword", "p@ssword"}


def test_nothing_at_all(home: Path) -> None:
    loaded = load(home)
    assert loaded.problems == ()
    assert loaded.settings.api.api_server == ""
    assert loaded.settings.config_files == ()
    assert loaded.settings.agent.worker_name == os.uname().nodename
    assert loaded.settings.agent.default_python == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert loaded.settings.state_dir == home / ".clearml/agent"
    assert loaded.origins["agent.git_user"] == Origin("default")
    with pytest.raises(UserError, match="no ClearML server") as caught:
        require_server(loaded.settings)
    assert caught.value.code == "no-configuration"
    assert "clearml-agent init" in caught.value.remedy
    assert "clearml-agent server" in caught.value.remedy
    assert "--print-config" in caught.value.remedy


def test_both_files_of_the_home_are_merged_the_newer_name_above(home: Path) -> None:
    (home / "trains.conf").write_text("agent { git_user: old, git_host: old.host }\nenv: prod\n")
    loaded = load(home, "\nagent.git_user: new\n")
    assert loaded.settings.agent.git.user == "new"
    assert loaded.settings.agent.git.host == "old.host"
    assert str(loaded.origins["agent.git_user"]) == f"{home}/clearml.conf:2"
    assert str(loaded.origins["agent.git_host"]) == f"{home}/trains.conf:1"
    assert loaded.settings.config_files == (home / "trains.conf", home / "clearml.conf")


@pytest.mark.parametrize("variable", ["CLEARML_CONFIG_FILE", "TRAINS_CONFIG_FILE"])
def test_a_named_file_replaces_those_of_the_home(home: Path, variable: str) -> None:
    (home / "other.conf").write_text("agent.git_host: other\n")
    loaded = load(home, "agent.git_user: home\n", **{variable: "~/other.conf"})
    assert (loaded.settings.agent.git.user, loaded.settings.agent.git.host) == ("", "other")


def test_the_flag_wins_over_the_variable(home: Path) -> None:
    (home / "a.conf").write_text("agent.git_user: a\n")
    (home / "b.conf").write_text("agent.git_user: b\n")
    environ = {"HOME": str(home), "CLEARML_CONFIG_FILE": str(home / "b.conf"), "HERE": str(home)}
    assert load_settings(Path("$HERE/a.conf"), environ).settings.agent.git.user == "a"


def test_a_missing_file_is_an_error_for_the_flag_and_a_warning_for_the_variable(home: Path) -> None:
    with pytest.raises(UserError, match=r"--config-file .*/nope\.conf: no such file") as caught:
        load_settings(home / "nope.conf", {"HOME": str(home)})
    assert caught.value.code == "config-missing"
    (problem,) = load(home, CLEARML_CONFIG_FILE=str(home / "nope.conf")).problems
    assert "CLEARML_CONFIG_FILE" in str(problem)
    assert str(home / "nope.conf") in str(problem)


def test_a_tree_of_files_lies_below_the_others(home: Path) -> None:
    tree = home / "tree"
    (tree / "default/agent").mkdir(parents=True)
    (tree / "local").mkdir()
    (tree / "default/agent.conf").write_text("git_user: tree\ngit_host: tree\nworker_name: tree\n")
    (tree / "default/agent/vcs_cache.conf").write_text("\n# c\npath: /tree\n")
    (tree / "local/agent.conf").write_text("git_host: local\n")
    loaded = load(home, "agent.git_user: home\n", CLEARML_CONFIG_PATH=str(tree), TRAINS_ENV="local")
    agent = loaded.settings.agent
    assert (agent.git.user, agent.git.host, agent.worker_name) == ("home", "local", "tree")
    assert agent.vcs_cache.path == Path("/tree")
    assert str(loaded.origins["agent.vcs_cache.path"]) == f"{tree}/default/agent/vcs_cache.conf:3"
    assert load(home, CLEARML_CONFIG_PATH=str(tree)).settings.agent.git.host == "tree"
    assert "is not a folder" in str(load(home, CLEARML_CONFIG_PATH="/nope").problems[0])
    with pytest.raises(UserError, match="TRAINS_ENV"):
        load(home, CLEARML_CONFIG_PATH=str(tree), TRAINS_ENV="mine")


def test_the_command_line_is_the_highest_layer(home: Path) -> None:
    environ = {"HOME": str(home), "CLEARML_AGENT__AGENT__DEBUG": "false", "CLEARML_WORKER_ID": "env"}
    loaded = load_settings(
        None, environ, command_line={"agent.debug": True, "agent.uptime": ["8-17 MON-FRI"], "agent.worker_id": "flag"}
    )
    assert loaded.settings.agent.worker_id == "flag"
    assert loaded.settings.agent.debug is True
    assert loaded.settings.agent.uptime == ("8-17 MON-FRI",)
    assert str(loaded.origins["agent.debug"]) == "command line"


@pytest.mark.parametrize("word", ["yes", "on", "true", "True", '"yes"', "1", "YES"])
def test_words_for_yes_are_switches(home: Path, word: str) -> None:
    loaded = load(home, f"agent.force_git_ssh_protocol: {word}\n")
    assert loaded.settings.agent.git.force_ssh_protocol is True
    assert loaded.problems == ()


@pytest.mark.parametrize("word", ["no", "off", "false", "0", '"No"'])
def test_words_for_no_are_switches(home: Path, word: str) -> None:
    loaded = load(home, f"agent.translate_ssh: {word}\n")
    assert loaded.settings.agent.git.translate_ssh is False
    assert loaded.problems == ()


def test_an_unknown_key_is_reported_with_place_and_nearest_key(home: Path) -> None:
    loaded = load(home, "agent {\n  git_user: a\n  package_manager {\n    typ: conda\n  }\n}\nagnet.x: 1\n")
    first, second = sorted(loaded.problems, key=lambda problem: problem.line or 0)
    assert (first.severity, first.key, first.line) == ("warning", "agent.package_manager.typ", 4)
    assert '"type"' in first.suggestion
    assert (second.key, second.line) == ("agnet.x", 7) or (second.key, second.line) == ("agnet", 7)
    assert '"agent"' in second.suggestion
    assert str(first).startswith(f"{home}/clearml.conf:4: agent.package_manager.typ: unknown key")


def test_a_key_in_the_wrong_section_finds_its_own(home: Path) -> None:
    (problem,) = load(home, "agent.package_manager.git_user: a\n").problems
    assert "agent.git_user" in problem.suggestion


def test_keys_of_free_form_parts_are_nobody_s_business(home: Path) -> None:
    text = """
        sdk { anything { goes: 1 } }
        environment { FOO: 1 }
        logging { version: 1 }
        agent.default_docker.match_rules: [ { image: x, match { script.repository: y } } ]
        agent.docker_container_name_format_fields { a: b }
        agent.slurm.user_map { "0123" = ana }
        agent.snug.whitelist { rules: [] }
    """
    loaded = load(home, text)
    assert loaded.problems == ()
    assert loaded.settings.agent.slurm.user_map == {"0123": "ana"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("agent.venvs_cache.max_entries: many", "expected a whole number"),
        ("agent.venvs_cache.max_entries: 1.5", "expected a whole number"),
        ("agent.venvs_cache.free_space_threshold_gb: nan", "expected a number"),
        ("agent.translate_ssh: maybe", "expected true or false"),
        ("agent.git_user: [a, b]", "expected text"),
        ("agent.package_manager.type: piip", "expected pip, conda, poetry or uv"),
        ("agent.task_ping_interval_sec: -1", "not below 0"),
        ("agent.git.extra_credentials: [{user: a, pasword: b}]", "expected a list of"),
        ("agent.vcs_cache: 5", "expected an object"),
        ("agent.docker_args_allowed_port_range: [9, 3]", "lowest port"),
        ("api: 5", "expected an object"),
    ],
)
def test_a_wrong_type_is_a_warning_and_the_default_counts(home: Path, line: str, message: str) -> None:
    loaded = load(home, f"# first\n{line}\n")
    assert load(home, "").settings.agent == loaded.settings.agent
    problem = next(problem for problem in loaded.problems if message in problem.message)
    assert (problem.severity, problem.line) == ("warning", 2)


def test_a_wrong_secret_is_not_repeated(home: Path) -> None:
    loaded = load(home, "agent.git_pass: [hunter22]\n")
    assert "hunter22" not in str(loaded.problems)


def test_an_address_that_is_none_is_an_error_when_it_is_needed(home: Path) -> None:
    loaded = load(home, "api.api_server: localhost:8008\n")
    (problem,) = loaded.problems
    assert (problem.severity, problem.line) == ("error", 1)
    with pytest.raises(UserError, match="does not begin with http"):
        require_server(loaded.settings)


def test_credentials_are_required(home: Path) -> None:
    settings = load(home, "api.api_server: http://h:8008\n").settings
    with pytest.raises(UserError, match="access_key") as caught:
        require_server(settings)
    assert caught.value.code == "no-credentials"
    require_server(load(home, CLEARML_AUTH_TOKEN="token").settings)
    require_server(load(home, CLEARML_API_ACCESS_KEY="a", CLEARML_API_SECRET_KEY="b").settings)


@pytest.mark.parametrize(
    ("api", "web", "files"),
    [
        ("http://localhost:8008", "http://localhost:8080", "http://localhost:8081"),
        ("https://api.clear.ml", "https://app.clear.ml", "https://files.clear.ml"),
        ("https://api.clear.ml/", "https://app.clear.ml", "https://files.clear.ml"),
        ("https://demoapi.x.io", "https://demoapp.x.io", "https://demofiles.x.io"),
        ("https://api.x.io:8443", "https://app.x.io:8443", "https://app.x.io:8081"),
        ("http://[::1]:8008", "http://[::1]:8080", "http://[::1]:8081"),
        ("http://h:9000", "", ""),
    ],
)
def test_addresses_follow_from_the_api_server(home: Path, api: str, web: str, files: str) -> None:
    loaded = load(home, f'api.api_server: "{api}"\n')
    assert (loaded.settings.api.web_server, loaded.settings.api.files_server) == (web, files)
    assert str(loaded.origins["api.web_server"]) == "derived from api.api_server"


def test_given_addresses_are_kept_and_the_older_name_counts(home: Path) -> None:
    loaded = load(home, "api { host: http://h:8008, web_server: http://w }\n")
    api = loaded.settings.api
    assert (api.api_server, api.web_server, api.files_server) == ("http://h:8008", "http://w", "http://w:8081")
    assert str(loaded.origins["api.api_server"]) == "api.host"
    assert load(home, "api { host: http://h, api_server: http://a }\n").settings.api.api_server == "http://a"


def test_the_state_folder(home: Path) -> None:
    assert load(home, "agent.state_dir: ~/s\n").settings.state_dir == home / "s"
    assert load(home, CLEARML_AGENT_STATE_DIR="$HOME/v").settings.state_dir == home / "v"
    loaded = load(home, CLEARML_AGENT__AGENT__STATE_DIR="/tmp/o")
    assert loaded.settings.state_dir == loaded.settings.agent.state_dir == Path("/tmp/o")


def test_credentials_by_host(home: Path) -> None:
    loaded = load(
        home, 'agent.git.extra_credentials: [{host: a.b, user: u, pass: "p-secret"}, {user: v, pass: w-secret}]\n'
    )
    assert loaded.settings.agent.git.extra_credentials == (
        Credential("u", "p-secret", "a.b"),
        Credential("v", "w-secret"),
    )
    assert {"p-secret", "w-secret"} <= loaded.secrets
    assert "p-secret" not in repr(loaded)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("off", False), ("/etc/ca.pem", Path("/etc/ca.pem")), ("~/ca", Path("HOME/ca"))]
)
def test_certificates(home: Path, text: str, value: object) -> None:
    if isinstance(value, Path):
        value = Path(str(value).replace("HOME", str(home)))
    assert load(home, f"api.verify_certificate: {text}\n").settings.api.verify_certificate == value
    assert load(home, "", CLEARML_API_HOST_VERIFY_CERT=text).settings.api.verify_certificate == value


def test_null_is_as_good_as_nothing(home: Path) -> None:
    loaded = load(home, "agent { venvs_cache { path: null, max_entries: null }, uptime: null, git_user: null }\n")
    assert loaded.settings.agent.venvs_cache.path is None  # here null has a meaning
    assert loaded.settings.agent.venvs_cache.max_entries == 10
    assert loaded.settings.agent.uptime == ()
    assert loaded.problems == ()


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("5m", 300), ("1.5 hours", 5400), ('"2d"', 172800), ("10s", 10)]
)
def test_durations(home: Path, text: str, seconds: float) -> None:
    assert load(home, f"agent.abort_callback_max_timeout: {text}").settings.agent.abort_callback_max_timeout == seconds


def test_origins_are_complete(home: Path) -> None:
    loaded = load(home, WIZARD_FILE, CLEARML_WORKER_ID="w:0")
    assert str(loaded.origins["agent.worker_id"]) == "CLEARML_WORKER_ID"
    assert str(loaded.origins["agent.git_pass"]) == f"{home}/clearml.conf:13"
    assert str(loaded.origins["api.credentials.secret_key"]) == f"{home}/clearml.conf:8"
    assert str(loaded.origins["agent.package_manager.type"]) == f"{home}/clearml.conf:21"
    assert str(loaded.origins["sdk.aws.s3.secret"]) == f"{home}/clearml.conf:26"
    assert "agent.git_user" in set(loaded.origins)
    assert len(loaded.origins) == len(list(loaded.origins))


def test_the_sdk_gets_its_own_section_the_server_and_no_git_password(home: Path) -> None:
    loaded = load(home, WIZARD_FILE, CLEARML_AGENT__SDK__DEVELOPMENT__DEFAULT_OUTPUT_URI="s3://b")
    tree: dict[str, Any] = loaded.tree
    assert tree["sdk"] == {
        "aws": {"s3": {"key": "", "secret": "s3-secret"}},
        "development": {"default_output_uri": "s3://b"},
    }
    assert tree["api"] == {
        "api_server": "http://clearml.local:8008",
        "host": "http://clearml.local:8008",
        "web_server": "http://clearml.local:8080",
        "files_server": "http://clearml.local:8081",
        "credentials": {"access_key": "AKAKAKAK", "secret_key": "SKSKSKSK"},
        "verify_certificate": True,
    }
    assert tree["agent"]["venvs_dir"] == str(home / ".clearml/venvs-builds")
    assert "tok-123" not in str(tree)
    assert "pw1234" not in str(tree)
    # what the agent itself uses is untouched by what was taken out for the SDK
    assert loaded.settings.agent.package_manager.extra_index_url == ("https://u:pw1234@pypi.local/simple",)
    assert loaded.values["agent"]["git_pass"] == "tok-123"


def test_reload_notices_what_changed_and_nothing_else(home: Path) -> None:
    loaded = load(home, 'agent.git_user: a\ninclude "more.conf"\n')
    assert reload(loaded) is loaded
    (home / "more.conf").write_text("agent.git_host: h\n")
    second = reload(loaded)
    assert second.settings.agent.git.host == "h"
    assert reload(second) is second
    (home / "trains.conf").write_text("agent.worker_name: t\n")
    third = reload(second)
    assert third.settings.agent.worker_name == "t"
    (home / "clearml.conf").write_text("agent.git_user: b\n")
    fourth = reload(third)
    assert (fourth.settings.agent.git.user, fourth.settings.agent.git.host) == ("b", "")
    (home / "clearml.conf").unlink()
    assert reload(fourth).settings.agent.git.user == ""


def test_reload_notices_a_new_file_in_the_tree(home: Path) -> None:
    (home / "tree/default").mkdir(parents=True)
    loaded = load(home, CLEARML_CONFIG_PATH=str(home / "tree"))
    (home / "tree/default/agent.conf").write_text("git_user: new\n")
    assert reload(loaded).settings.agent.git.user == "new"


def test_reload_of_a_broken_file_is_an_error(home: Path) -> None:
    loaded = load(home, "agent.git_user: a\n")
    (home / "clearml.conf").write_text("agent { git_user: a\n")
    with pytest.raises(UserError, match="never closed"):
        reload(loaded)


def test_the_given_environment_alone_counts(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARML_API_HOST", "http://from.process")
    monkeypatch.setenv("HOME", str(home))
    assert load(home).settings.api.api_server == ""
    assert load_settings().settings.api.api_server == "http://from.process"
