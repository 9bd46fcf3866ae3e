"""users.* and organization.*: the one user and company of this server."""

from __future__ import annotations

import json
from typing import Any

from clearml_agent_clone.server import fields
from clearml_agent_clone.server.auth import Identity
from clearml_agent_clone.server.documents import PROJECTS
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import Call, Request, endpoint
from clearml_agent_clone.server.tags import tags_of

Body = dict[str, Any]
_PREFERENCES = "preferences"


@endpoint("users.get_current_user")
async def get_current_user(request: Request, _body: Body) -> Body:
    user = request.user
    shown = {
        **_user(user),
        "role": user.role,
        "company": {"id": user.company, "name": user.company_name},
    }
    return {"user": shown, "getting_started": None, "settings": {"max_download_items": "1000"}}


@endpoint("users.get_by_id")
async def get_by_id(request: Request, body: Body) -> Body:
    owner = request.state.auth.owner
    key = fields.required(body, "user")
    if key != owner.user:
        raise ApiFault(400, 301, f"Invalid user id: id={key}")
    return {"user": {**_user(owner), "company": owner.company}}


@endpoint("users.get_all")
@endpoint("users.get_all_ex")
async def get_all(request: Request, body: Body) -> Body:
    owner = request.state.auth.owner
    ids = fields.texts(body, "id")
    shown = {**_user(owner), "company": owner.company}
    wanted = fields.texts(body, "only_fields")
    if wanted:
        shown = {name: value for name, value in shown.items() if name in wanted}
    return {"users": [shown] if not ids or owner.user in ids else []}


@endpoint("users.get_preferences")
def get_preferences(call: Call, _body: Body) -> Body:
    return {_PREFERENCES: _preferences(call)}


@endpoint("users.set_preferences", writes=True)
def set_preferences(call: Call, body: Body) -> Body:
    merged = {**_preferences(call), **fields.mapping(body, _PREFERENCES)}
    call.db.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (_PREFERENCES, json.dumps(merged)))
    return {"updated": 1, "fields": {_PREFERENCES: merged}}


@endpoint("organization.get_tags", since="2.8")
def get_tags(call: Call, body: Body) -> Body:
    found = [tags_of(call, table, body) for table in ("tasks", "models")]
    return {name: sorted({tag for one in found for tag in one[name]}) for name in found[0]}


@endpoint("organization.get_user_companies")
async def get_user_companies(request: Request, _body: Body) -> Body:
    owner = request.state.auth.owner
    return {"companies": [{"id": owner.company, "name": owner.company_name, "allocated": 1, "owners": [_user(owner)]}]}


@endpoint("organization.get_entities_count", since="2.20")
def get_entities_count(call: Call, _body: Body) -> Body:
    counts = {}
    for table in ("projects", "tasks", "models", "queues"):
        counts[table] = call.db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0]  # noqa: S608 - our own constant
    hidden = PROJECTS.select(call.db, "WHERE json_extract(doc, '$.system_tags') LIKE '%\"hidden\"%'")
    return {**counts, "projects": counts["projects"] - len(hidden)}


def _user(user: Identity) -> Body:
    given, _, family = user.user_name.partition(" ")
    return {"id": user.user, "name": user.user_name, "given_name": given, "family_name": family}


def _preferences(call: Call) -> Body:
    row = call.db.execute("SELECT value FROM settings WHERE name = ?", (_PREFERENCES,)).fetchone()
    found: Body = json.loads(row[0]) if row else {}
    return found
