"""What counts as secret, and that none of it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clearml_agent_clone.config import Loaded, load_settings
from clearml_agent_clone.config.masking import mask_known, mask_urls
from clearml_agent_clone.config.printout import shown_lines, shown_tree
from clearml_agent_clone.config.secret_values import looks_secret, worth_masking

SECRETS = {
    "api-secret-key",
    "auth-token-value",
    "git-pass-value",
    "cred-pass-value",
    "index-password",
    "args-token-value",
    "s3-secret-value",
    "s3-bucket-secret",
    "azure-account-key",
    "env-password-value",
    "98765432",
    "git-pas-value",
    "sdk-token-value",
}
FULL = """
api { api_server: "http://h:8008", credentials { access_key: ACCESSKEY1, secret_key: api-secret-key } }
agent {
    git_user: ana
    git_pass: git-pass-value
    git_pas: git-pas-value
    git.extra_credentials: [ { host: h, user: u, pass: cred-pass-value } ]
    package_manager.extra_index_url: [ "https://u:index-password@h/simple" ]
    extra_docker_arguments: [ "-e", "MY_TOKEN=args-token-value", "-e", "PLAIN=plain-value" ]
    sanitize_config_printout { hide_secrets: [ secret, pass, token ] }
}
sdk {
    aws.s3 { key: s3-key, secret: s3-secret-value, credentials: [ { bucket: b, key: k, secret: s3-bucket-secret } ] }
    azure.storage.containers: [ { account_name: n, account_key: azure-account-key } ]
    google.storage.credentials_json: "/path/to/credentials.json"
    mine.access_token: sdk-token-value
    short.secret: abc
}
environment { DB_PASSWORD: env-password-value, PIN_TOKEN: 98765432, FLAG_TOKEN: "true", PLAIN: plain-value }
"""


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    (tmp_path / "clearml.conf").write_text(FULL)
    return load_settings(None, {"HOME": str(tmp_path), "CLEARML_AUTH_TOKEN": "auth-token-value"})


def test_every_secret_is_known_and_nothing_else(loaded: Loaded) -> None:
    assert loaded.secrets == SECRETS


def test_no_secret_is_printed(loaded: Loaded) -> None:
    text = "\n".join(map(str, shown_lines(loaded))) + json.dumps(shown_tree(loaded)) + repr(loaded)
    text += "".join(map(str, loaded.problems))
    for secret in (*SECRETS, "abc"):
        assert secret not in text, secret
    assert "agent.git_pass = ****" in text


def test_what_is_no_secret_is_printed(loaded: Loaded) -> None:
    lines = {line.path: line.value for line in shown_lines(loaded)}
    assert lines["agent.git_user"] == "ana"
    assert lines["api.credentials.access_key"] == "ACCE****"
    assert lines["agent.package_manager.extra_index_url.0"] == "https://u:****@h/simple"
    assert lines["agent.extra_docker_arguments.1"] == "MY_TOKEN=****"
    assert lines["agent.extra_docker_arguments.3"] == "PLAIN=plain-value"
    assert lines["api.auth.token_expiration_threshold_sec"] == 43200
    assert lines["agent.enable_git_ask_pass"] is True
    assert lines["agent.sanitize_config_printout.hide_secrets.1"] == "pass"
    assert lines["sdk.google.storage.credentials_json"] == "/path/to/credentials.json"
    assert lines["sdk.aws.s3.credentials.0.bucket"] == "b"
    assert lines["environment.PLAIN"] == "****"


def test_the_user_s_rules_are_kept(tmp_path: Path) -> None:
    (tmp_path / "clearml.conf").write_text("""
        agent.sanitize_config_printout { hide_secrets: ["^git_user$", "^banner", "(", x_token], dont_hide_secrets: [fine_token] }
        agent.git_user: ana
        sdk { banner: hidden, group.banner_two { a: hidden }, fine_token: shown-token }
    """)
    loaded = load_settings(None, {"HOME": str(tmp_path)})
    lines = {line.path: line.value for line in shown_lines(loaded)}
    assert lines["agent.git_user"] == "****"
    assert lines["sdk.banner"] == "****"
    assert lines["sdk.group.banner_two"] == "****"
    assert lines["agent.git_host"] == ""


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "git_pass",
        "API_KEY",
        "WANDB_API_KEY",
        "HF_TOKEN",
        "secret",
        "AWS_SECRET_ACCESS_KEY",
        "account_key",
        "DB_PWD",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert looks_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "AWS_ACCESS_KEY_ID",
        "SECRET_PATH",
        "TOKEN_FILE",
        "passive",
        "compass",
        "KEYBOARD",
        "AUTH_URL",
        "credentials_json",
    ],
)
def test_other_names(name: str) -> None:
    assert not looks_secret(name)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://u:p@h/x", "https://u:****@h/x"),
        ("git+https://u:p%40@h/x and http://:t@k", "git+https://u:****@h/x and http://:****@k"),
        ("https://h:8080/x@y", "https://h:8080/x@y"),
        ("https://user@h", "https://user@h"),
        ("no url a:b@c", "no url a:b@c"),
    ],
)
def test_passwords_in_urls(text: str, masked: str) -> None:
    assert mask_urls(text) == masked


def test_a_secret_within_a_secret() -> None:
    assert mask_known("key=abcdef abc", {"abc", "abcdef"}) == "key=**** ****"


def test_secrets_of_the_environment_and_of_other_programs_files(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine h login u password netrc-pass-1\n")
    (tmp_path / ".git-credentials").write_text("https://u:git%2Fstored1@host\n")
    (tmp_path / ".pypirc").write_text("[pypi]\nusername = __token__\npassword = pypi-token-1\n")
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://u:index-pass-1@h/simple\n")
    environ = {
        "HOME": str(tmp_path),
        "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"),
        "WANDB_API_KEY": "wandb-key-1",
        "HF_TOKEN": "hf-token-1",
        "AWS_ACCESS_KEY_ID": "AKEYID0001",
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=n;AccountKey=azure-key-1==;EndpointSuffix=e",
        "DATABASE": "postgres://u:db-pass-1@h/d",
        "TOKEN_LIMIT": "4096",
        "SECRET_KEY_PATH": "/run/secrets/key",
        "SOME_PASSWORD": "password",
        "EDITOR": "editor-value",
    }
    secrets = load_settings(None, environ).secrets
    assert secrets >= {
        "netrc-pass-1",
        "git/stored1",
        "git%2Fstored1",
        "pypi-token-1",
        "index-pass-1",
        "wandb-key-1",
        "hf-token-1",
        "AKEYID0001",
        "azure-key-1==",
        "db-pass-1",
    }
    assert not secrets & {"4096", "/run/secrets/key", "password", "editor-value", str(tmp_path)}


@pytest.mark.parametrize("value", ["abc", "true", "Password", "1234", "0.25", "xxxxxxxx", "/etc/key file.pem", "  a  "])
def test_what_cannot_be_told_from_ordinary_text_is_no_secret(value: str) -> None:
    assert not worth_masking(value)


@pytest.mark.parametrize("value", ["hunter2", "123456", "abcd", "/abc+d==", "a b c"])
def test_what_can(value: str) -> None:
    assert worth_masking(value)
