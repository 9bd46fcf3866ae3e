"""auth.*: login and credentials; login.*: what a login page needs to know."""

from __future__ import annotations

from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.auth import COOKIE, KeyPair, new_pair
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call, Request, endpoint

_COOKIE_LIFE = 10 * 365 * 86400


@endpoint("auth.login")
async def login(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    token = request.state.auth.issue_token(request.user, fields.integer(body, "expiration_sec"))
    request.response_headers["set-cookie"] = f"{COOKIE}={token}; Max-Age={_COOKIE_LIFE}; HttpOnly; Path=/; SameSite=Lax"
    return {"token": token}


@endpoint("auth.logout", since="2.2", writes=True)
def logout(call: Call, _body: dict[str, Any]) -> dict[str, Any]:
    if call.user.session:
        until = call.now.timestamp() + _COOKIE_LIFE
        call.db.execute("INSERT OR REPLACE INTO revoked_sessions VALUES (?, ?)", (call.user.session, until))
        call.after_commit(call.state.auth.reload)
    call.response_headers["set-cookie"] = f"{COOKIE}=; Max-Age=0; HttpOnly; Path=/; SameSite=Lax"
    return {}


@endpoint("auth.create_credentials", writes=True)
def create_credentials(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    label = fields.text(body, "label")
    pair: KeyPair = new_pair()
    call.state.auth.add_pair(call.db, pair, label, call.now)
    call.after_commit(call.state.auth.reload)
    return {"credentials": {"access_key": pair.access_key, "secret_key": pair.secret_key, "label": label}}


@endpoint("auth.get_credentials")
def get_credentials(call: Call, _body: dict[str, Any]) -> dict[str, Any]:
    rows = call.db.execute(
        "SELECT access_key, label, last_used, last_used_from FROM credentials WHERE revoked = 0 ORDER BY created"
    )
    names = ("access_key", "label", "last_used", "last_used_from")
    return {"credentials": [dict(zip(names, row, strict=True)) for row in rows]}


@endpoint("auth.edit_credentials", writes=True)
def edit_credentials(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    changed = call.db.execute(
        "UPDATE credentials SET label = ? WHERE access_key = ? AND revoked = 0",
        (fields.text(body, "label"), fields.required(body, "access_key")),
    )
    if not changed.rowcount:
        raise _no_such_credentials()
    return {"updated": changed.rowcount}


@endpoint("auth.revoke_credentials", writes=True)
def revoke_credentials(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    changed = call.db.execute(
        "UPDATE credentials SET revoked = 1 WHERE access_key = ? AND revoked = 0",
        (fields.required(body, "access_key"),),
    )
    if not changed.rowcount:
        raise _no_such_credentials()
    call.after_commit(call.state.auth.reload)
    return {"revoked": changed.rowcount}


@endpoint("auth.validate_token")
async def validate_token(request: Request, body: dict[str, Any]) -> dict[str, Any]:
    try:
        found = request.state.auth.check_token(fields.required(body, "token"))
    except ApiFault:
        return {"valid": False, "msg": "invalid token"}
    return {"valid": True, "user": found.user, "company": found.company}


@endpoint("auth.fixed_users_mode", auth=False)
async def fixed_users_mode(_request: Request, _body: dict[str, Any]) -> dict[str, Any]:
    return {"enabled": False, "migration_warning": False, "guest": {"enabled": False}, "server_errors": {}}


@endpoint("login.supported_modes", auth=False)
async def supported_modes(_request: Request, _body: dict[str, Any]) -> dict[str, Any]:
    return {
        "basic": {"enabled": False, "guest": {"enabled": False}},
        "sso": {},
        "sso_providers": [],
        "server_errors": {"missed_es_upgrade": False, "es_connection_error": False},
        "authenticated": False,
    }


def _no_such_credentials() -> ApiFault:
    return ApiFault(400, 1003, "Invalid access key")
