"""The web port: the pages behind the links that clients print.

Read-only but for logging in and out, rendered here, without scripts. Nothing is served without credentials but the
login page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from clearml_agent_clone.server.documents import TASKS
from clearml_agent_clone.server.events.console import text_lines
from clearml_agent_clone.server.faults import ApiFault
from clearml_agent_clone.server.state import ServerState
from clearml_agent_clone.server.web.html import html
from clearml_agent_clone.server.web.layout import HEADERS, respond
from clearml_agent_clone.server.web.lists import project_page, start_page
from clearml_agent_clone.server.web.session import Sessions, to_login, visitor
from clearml_agent_clone.server.web.task_page import task_page
from clearml_agent_clone.server.web.terminal import readable

_TASK_PATHS = (
    "/projects/{project}/experiments/{task}",
    "/projects/{project}/tasks/{task}",
    "/pipelines/{project}/experiments/{task}",
    "/pipelines/{project}/tasks/{task}",
    "/datasets/simple/{project}/experiments/{task}",
)
"""Where clients of all ages look for a task; what follows (a tab of the page they know) does not matter."""


def build_web(state: ServerState) -> Starlette:
    """The application of the web port over an open ``state``."""
    pages, sessions = Pages(state), Sessions(state)
    routes = [
        Route("/", pages.guard(pages.start)),
        Route("/projects", pages.guard(pages.start)),
        Route("/login", sessions.form, methods=["GET"]),
        Route("/login", sessions.login, methods=["POST"]),
        Route("/logout", sessions.logout, methods=["POST"]),
    ]
    for path in _TASK_PATHS:
        routes.append(Route(f"{path}/console.txt", pages.guard(pages.text)))
        routes.append(Route(path, pages.guard(pages.task)))
        routes.append(Route(path + "/{tab:path}", pages.guard(pages.task)))
    routes.append(Route("/projects/{project}", pages.guard(pages.project)))
    routes.append(Route("/projects/{project}/{tab}", pages.guard(pages.project)))
    routes.append(Route("/{anything:path}", pages.guard(pages.missing)))
    return Starlette(routes=routes)


class Pages:
    """The pages for whoever is logged in."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def guard(self, show: Callable[[Request], Response]) -> Callable[[Request], Awaitable[Response]]:
        """``show``, run in a thread, for those who are logged in; the others are sent to the login page."""

        async def guarded(request: Request) -> Response:
            try:
                visitor(self._state, request)
            except ApiFault:
                return to_login(request)
            try:
                return await run_in_threadpool(show, request)
            except ApiFault:
                return self.missing(request)

        return guarded

    def start(self, request: Request) -> Response:
        with self._state.db.read() as db:
            return respond("ClearML server", start_page(db, _page(request)))

    def project(self, request: Request) -> Response:
        project = request.path_params["project"]
        if project == "*":
            return self.start(request)
        with self._state.db.read() as db:
            name, body = project_page(db, project, _page(request))
        return respond(name, body)

    def task(self, request: Request) -> Response:
        with self._state.db.read() as db:
            page = task_page(db, request.path_params["task"], request.query_params.get("older", ""))
        return respond(page.title, page.body, refresh=page.refresh)

    def text(self, request: Request) -> Response:
        task = request.path_params["task"]
        with self._state.db.read() as db:
            TASKS.get(db, task, "id")
        lines = (readable(line) for line in text_lines(self._state, task, "{msg}"))
        return StreamingResponse(lines, headers=HEADERS, media_type="text/plain")

    def missing(self, _request: Request) -> Response:
        return respond("Not found", html("<h1>Not found</h1><p>There is no such page, project or task.</p>"), code=404)


def _page(request: Request) -> int:
    asked = request.query_params.get("page", "")
    return min(int(asked), 10**6) if asked.isascii() and asked.isdigit() else 0
