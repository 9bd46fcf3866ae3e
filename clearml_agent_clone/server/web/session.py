"""Logging in and out. The cookie is the one that ``auth.login`` sets, so it opens all three ports."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from clearml_agent_clone.server.auth import COOKIE, DEFAULT_TOKEN_LIFE, Identity, KeyPair
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.registry import NEWEST, REGISTRY
from clearml_agent_clone.server.registry import Request as ApiRequest
from clearml_agent_clone.server.state import ServerState
from clearml_agent_clone.server.web.html import Value, html
from clearml_agent_clone.server.web.layout import HEADERS, respond

_LARGEST_FORM = 16 * 1024
_OWN_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*\Z")


class Sessions:
    """The pages and actions around the login."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    async def form(self, request: Request) -> Response:
        return _page(request.query_params.get("next", ""))

    async def login(self, request: Request) -> Response:
        if _foreign(request):
            return _page("", "The form was not sent from this page.", code=403)
        raw = bytearray()
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > _LARGEST_FORM:
                return _page("", "That is too long to be credentials.", code=413)
        fields = {name: values[-1] for name, values in parse_qs(raw.decode(errors="replace")).items()}
        pair = KeyPair(fields.get("key", "").strip(), fields.get("secret", "").strip())
        try:
            identity = self._state.auth.check_pair(pair)
        except ApiFault:
            return _page(fields.get("next", ""), "No such key and secret.", code=401)
        token = self._state.auth.issue_token(identity, 0)
        response = RedirectResponse(_own(fields.get("next", "")), 303, HEADERS)
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, token, DEFAULT_TOKEN_LIFE, httponly=True, samesite="lax", secure=secure)
        return response

    async def logout(self, request: Request) -> Response:
        if _foreign(request):
            return _page("", "The form was not sent from this page.", code=403)
        response = RedirectResponse("/login", 303, HEADERS)
        try:
            user = visitor(self._state, request)
        except ApiFault:
            return response
        found = REGISTRY.find("auth.logout", NEWEST)
        call = ApiRequest(
            state=self._state,
            user=user,
            worker="",
            now=self._state.config.clock(),
            version=found.since,
            requested=NEWEST,
        )
        await run_in_threadpool(call.run_here, found.sync_handler, {}, found.writes)
        response.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return response


def visitor(state: ServerState, request: Request) -> Identity:
    """Who looks at a page. Following a link from another site is all right, as looking changes nothing.

    Raises:
        ApiFault: 401.
    """
    return state.auth.authenticate(request.headers.get("authorization", ""), request.cookies.get(COOKIE, ""))


def to_login(request: Request) -> Response:
    """Send a browser that is not logged in to the login page, from where it comes back."""
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(wanted, safe='/')}", 303, HEADERS)


def _page(back_to: str, error: Value = None, *, code: int = 200) -> Response:
    body = html(
        '<h1>Log in</h1><p class="soft">With the access key and the secret key of your clearml.conf.</p>{error}'
        '<form class="login" method="post" action="/login"><input type="hidden" name="next" value="{back_to}">'
        '<label>Access key<input name="key" autocomplete="username" required autofocus></label>'
        '<label>Secret key<input name="secret" type="password" autocomplete="current-password" required></label>'
        "<button>Log in</button></form>",
        error=html('<p class="error" role="alert">{error}</p>', error=error) if error else "",
        back_to=_own(back_to),
    )
    return respond("Log in", body, code=code, known=False)


def _own(path: str) -> str:
    """``path`` if it is one of this server, else the start page: a login must not lead to somebody else's site."""
    return path if _OWN_PATH.match(path) else "/"


def _foreign(request: Request) -> bool:
    """Whether a page of another origin made the browser send this."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        return True
    return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
