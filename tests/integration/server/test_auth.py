"""Who gets in, and with what."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from clearml_agent_clone.server.embedded import running_server
from clearml_agent_clone.server.registry import REGISTRY

OPEN = ["debug.ping", "login.supported_modes", "auth.fixed_users_mode"]
CLOSED = sorted(set(REGISTRY.names()) - set(OPEN))


def basic(key: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()}


def ask(server: Any, endpoint: str, headers: dict[str, str] | None = None, **body: Any) -> tuple[int, int]:
    answer = requests.post(f"{server.api_url}/{endpoint}", json=body, headers=headers, timeout=10)
    assert "Set-Cookie" not in answer.headers or endpoint.endswith(("auth.login", "auth.logout"))
    return answer.status_code, answer.json()["meta"]["result_subcode"]


def login(server: Any, **body: Any) -> str:
    return str(server.call("auth.login", **body)["token"])


@pytest.mark.parametrize("endpoint", OPEN)
def test_open_endpoints(shared_server: Any, endpoint: str) -> None:
    assert ask(shared_server, endpoint) == (200, 0)


def test_nothing_else_is_open(shared_server: Any) -> None:
    assert len(CLOSED) > 100
    assert {endpoint for endpoint in CLOSED if ask(shared_server, f"v2.99/{endpoint}") != (401, 20)} == set()


@pytest.mark.parametrize(
    ("headers", "subcode"),
    [
        ({"Authorization": "Digest abc"}, 10),
        ({"Authorization": "abc"}, 10),
        ({"Authorization": "Basic !!!"}, 21),
        ({"Authorization": "Basic " + base64.b64encode(b"nocolon").decode()}, 21),
        (basic("", ""), 22),
        (basic("unknown", "secret"), 22),
        ({"Authorization": "Bearer"}, 30),
        ({"Authorization": "Bearer abc"}, 30),
        ({"Authorization": "Bearer " + jwt.encode({"exp": 9e9}, "x" * 32)}, 30),
        ({"Authorization": "Bearer " + jwt.encode({"exp": 9e9}, "", algorithm="none")}, 30),
        ({"Cookie": "clearml_token_basic=abc"}, 30),
        ({}, 20),
    ],
)
def test_refused(shared_server: Any, headers: dict[str, str], subcode: int) -> None:
    assert ask(shared_server, "auth.login", headers) == (401, subcode)
    assert ask(shared_server, "tasks.get_all", headers) == (401, subcode)


def test_right_key_with_a_wrong_secret(shared_server: Any) -> None:
    assert ask(shared_server, "server.info", basic(shared_server.access_key, "")) == (401, 22)
    assert ask(shared_server, "server.info", basic(shared_server.access_key, "x")) == (401, 22)


def test_basic_bearer_and_cookie_open_any_endpoint(shared_server: Any) -> None:
    token = login(shared_server)
    pair = basic(shared_server.access_key, shared_server.secret_key)
    for headers in (pair, {"Authorization": f"Bearer {token}"}, {"Cookie": f"clearml_token_basic={token}"}):
        assert ask(shared_server, "tasks.get_all", headers) == (200, 0)
        assert ask(shared_server, "auth.login", headers) == (200, 0)


def test_a_foreign_page_cannot_use_the_cookie(shared_server: Any) -> None:
    headers = {"Cookie": f"clearml_token_basic={login(shared_server)}", "Sec-Fetch-Site": "cross-site"}
    assert ask(shared_server, "tasks.get_all", headers) == (401, 20)


def test_login_sets_a_cookie_that_scripts_cannot_read(shared_server: Any) -> None:
    cookie = shared_server.raw("auth.login").headers["Set-Cookie"]
    assert cookie.startswith("clearml_token_basic=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= {part.strip() for part in cookie.split(";")}


def test_claims(shared_server: Any) -> None:
    claims = jwt.decode(login(shared_server), options={"verify_signature": False})
    assert {"exp", "iat", "session_id", "auth_type", "env"} <= set(claims)
    assert (claims["api_version"], claims["server_version"], claims["feature_set"]) == ("2.34", "2.3.0", "basic")
    assert claims["extensions"] == ["queues.get_next_task.wait", "queues.get_next_task.claim"]
    identity = claims["identity"]
    current = shared_server.call("users.get_current_user")["user"]
    assert (identity["user"], identity["user_name"]) == (current["id"], current["name"])
    assert identity["company"] == current["company"]["id"]
    assert abs(claims["exp"] - claims["iat"] - 30 * 86400) < 1


def test_life_of_a_token(shared_server: Any) -> None:
    claims = jwt.decode(login(shared_server, expiration_sec=60), options={"verify_signature": False})
    assert abs(claims["exp"] - claims["iat"] - 60) < 1
    claims = jwt.decode(login(shared_server, expiration_sec=10**9), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] < 366 * 86400


def test_credentials_are_made_used_and_revoked(server: Any) -> None:
    made = server.call("auth.create_credentials", label="laptop")["credentials"]
    pair = basic(made["access_key"], made["secret_key"])
    assert ask(server, "server.info", pair) == (200, 0)
    token = requests.post(f"{server.api_url}/auth.login", headers=pair, timeout=10).json()["data"]["token"]
    listed = server.call("auth.get_credentials")["credentials"]
    assert {item["access_key"]: item["label"] for item in listed}[made["access_key"]] == "laptop"
    assert all("secret_key" not in item for item in listed)
    assert server.call("auth.edit_credentials", access_key=made["access_key"], label="old")["updated"] == 1
    assert server.call("auth.revoke_credentials", access_key=made["access_key"])["revoked"] == 1
    assert ask(server, "server.info", pair) == (401, 22)
    assert ask(server, "server.info", {"Authorization": f"Bearer {token}"}) == (401, 30)
    assert server.failure("auth.revoke_credentials", access_key=made["access_key"])[0] == 400


def test_logout_ends_the_session(server: Any) -> None:
    one, other = login(server), login(server)
    assert ask(server, "v2.5/auth.logout", {"Authorization": f"Bearer {one}"}) == (200, 0)
    assert ask(server, "server.info", {"Authorization": f"Bearer {one}"}) == (401, 30)
    assert ask(server, "server.info", {"Authorization": f"Bearer {other}"}) == (200, 0)


def test_credentials_and_tokens_survive_a_restart(tmp_path: Path) -> None:
    with running_server(tmp_path) as first:
        token = requests.post(f"{first.api_url}/auth.login", auth=(first.access_key, first.secret_key), timeout=10)
        headers = {"Authorization": "Bearer " + token.json()["data"]["token"]}
    with running_server(tmp_path) as second:
        assert (first.access_key, first.secret_key) == (second.access_key, second.secret_key)
        assert ask(second, "server.info", headers) == (200, 0)


def test_secrets_lie_in_private_files_and_not_in_the_database(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        secret = server.secret_key
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    for path in (tmp_path / "data").iterdir():
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        if path.name.startswith("server.db"):
            assert secret.encode() not in path.read_bytes()
    assert json.loads((tmp_path / "data" / "credentials.json").read_text())["secret_key"] == secret


def test_other_servers_tokens_are_refused(shared_server: Any, server: Any) -> None:
    assert ask(server, "server.info", {"Authorization": f"Bearer {login(shared_server)}"}) == (401, 30)
