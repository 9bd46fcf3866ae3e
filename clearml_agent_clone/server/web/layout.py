"""The frame of every page, and the headers that go with it."""

from __future__ import annotations

from starlette.responses import HTMLResponse, Response

from clearml_agent_clone.server.web.html import Html, Value, html
from clearml_agent_clone.server.web.style import POLICY, STYLE

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # not no-referrer: browsers then hide the origin of our own forms too
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
}

_STYLE = Html(f"<style>{STYLE}</style>")
_LOGOUT = Html('<form method="post" action="/logout"><button>Log out</button></form>')


def respond(title: str, body: Value, *, code: int = 200, refresh: int = 0, known: bool = True) -> Response:
    """A whole page.

    Args:
        title: of the window.
        body: what stands under the header.
        code: HTTP status.
        refresh: seconds after which the browser shall ask again; 0 for never.
        known: somebody is logged in.
    """
    again = html('<meta http-equiv="refresh" content="{seconds}">', seconds=refresh) if refresh else ""
    page = html(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">{again}{style}</head><body>'
        '<header><a href="/">ClearML server</a>{logout}</header><main>{body}</main></body></html>',
        title=title,
        again=again,
        style=_STYLE,
        logout=_LOGOUT if known else "",
        body=body,
    )
    return HTMLResponse(page, code, HEADERS)


def section(title: str, *parts: Value) -> Html:
    """A heading and what stands under it."""
    return html("<section><h2>{title}</h2>{parts}</section>", title=title, parts=parts)


def facts(pairs: list[tuple[str, Value]]) -> Html:
    """A list of names and values; those without a value are left out."""
    shown = [html("<dt>{name}</dt><dd>{value}</dd>", name=name, value=value) for name, value in pairs if value]
    return html("<dl>{shown}</dl>", shown=shown)


def table(heads: list[str], rows: list[list[Value]], *, numbers: frozenset[int] = frozenset()) -> Html:
    """A table that can be pushed sideways on a small screen; the columns in ``numbers`` are set to the right."""
    kinds = [' class="number"' if column in numbers else "" for column in range(len(heads))]
    head = [html("<th{kind}>{text}</th>", kind=Html(kind), text=text) for kind, text in zip(kinds, heads, strict=True)]
    lines = [
        html("<tr>{cells}</tr>", cells=[_cell(kind, value) for kind, value in zip(kinds, row, strict=True)])
        for row in rows
    ]
    return html(
        '<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>',
        head=head,
        lines=lines,
    )


def _cell(kind: str, value: Value) -> Html:
    return html("<td{kind}>{value}</td>", kind=Html(kind), value=value)
