"""The page of one task: how it stands, its console, scalars, parameters, artifacts and models."""

from __future__ import annotations

import sqlite3
from itertools import groupby, islice
from typing import Any

import attrs

from clearml_agent_clone.server.documents import MODELS, PROJECTS, TASKS
from clearml_agent_clone.server.events.curves import curves
from clearml_agent_clone.server.events.listing import Listed, Place, Query, page
from clearml_agent_clone.server.events.store import LOG
from clearml_agent_clone.server.web.charts import chart
from clearml_agent_clone.server.web.html import Html, Value, html, joined, link, own_link
from clearml_agent_clone.server.web.layout import facts, section, table
from clearml_agent_clone.server.web.terminal import readable
from clearml_agent_clone.server.web.values import duration, members, moment, number, part, size, status_text

REFRESH = 5
"""Seconds after which the page of a task that is not done asks again."""

_RUNNING = frozenset({"queued", "in_progress", "publishing"})
_CONSOLE_EVENTS = 200
_CONSOLE_CHARACTERS = 300_000
_POINTS = 160
_CHARTS = 60


@attrs.frozen
class TaskPage:
    """A page that is ready to be shown."""

    title: str
    body: Html
    refresh: int


def task_page(db: sqlite3.Connection, task_id: str, older_than: str) -> TaskPage:
    """The page of a task.

    Args:
        db: a connection.
        task_id: the task.
        older_than: from where to go on in the console, as a link of this page says it; empty for its end.

    Raises:
        ApiFault: 400/101, no such task.
    """
    task = TASKS.get(db, task_id)
    place = _place(older_than)
    base = ("projects", task.get("project") or "*", "tasks", task_id)
    name = str(task.get("name", ""))
    body = joined(
        [
            html("<h1>{name}</h1>", name=name or task_id),
            _standing(db, task),
            _console(db, task_id, base, place),
            _scalars(db, task),
            _parameters(task),
            _artifacts(task),
            _models(db, task),
        ]
    )
    live = task.get("status") in _RUNNING and place is None
    return TaskPage(f"{name} - {task.get('status')}", body, REFRESH if live else 0)


def _standing(db: sqlite3.Connection, task: dict[str, Any]) -> Html:
    project = PROJECTS.find(db, str(task.get("project", "")))
    why = [text for text in (task.get("status_reason"), task.get("status_message")) if text]
    script = task.get("script")
    code = [str(part(script, name)) for name in ("repository", "branch", "version_num") if part(script, name)]
    return facts(
        [
            ("Status", html("{status} {why}", status=status_text(task), why=": ".join(map(str, why)))),
            ("Project", project and own_link(project.get("name"), "projects", project["id"])),
            ("Type", task.get("type")),
            ("Tags", ", ".join(map(str, task.get("tags") or ()))),
            ("Created", moment(task.get("created"))),
            ("Started", moment(task.get("started"))),
            ("Ended", moment(task.get("completed"))),
            ("Ran for", duration(task.get("active_duration"))),
            ("Iteration", task.get("last_iteration")),
            ("Worker", task.get("last_worker")),
            ("Code", ", ".join(code)),
            ("Entry point", part(script, "entry_point")),
            ("Comment", task.get("comment")),
            ("Id", task.get("id")),
        ]
    )


def _console(db: sqlite3.Connection, task_id: str, base: tuple[str, ...], place: Place | None) -> Html:
    found = page(db, Query(task_id, LOG, descending=True), _CONSOLE_EVENTS + 1, place)
    shown = _fitting(found[:_CONSOLE_EVENTS])
    links: list[Value] = []
    if len(shown) < len(found):
        at = ".".join(map(str, shown[-1].place.write()))
        links.append(own_link("Older", *base, "output", "log", older=at))
    if place is not None:
        links.append(own_link("Newest", *base, "output", "log"))
    links.append(own_link("All as text", *base, "console.txt"))
    text = "\n".join(
        readable(str(listed.event["msg"])[-_CONSOLE_CHARACTERS:]).rstrip("\n") for listed in reversed(shown)
    )
    lines = html("<pre>{text}</pre>", text=text) if shown else html('<p class="soft">Nothing yet.</p>')
    return section("Console", html("<p>{links}</p>", links=[html("{one} ", one=one) for one in links]), lines)


def _fitting(found: list[Listed]) -> list[Listed]:
    """As many of the events as a page has room for, at least one."""
    total = 0
    for count, listed in enumerate(found):
        total += len(str(listed.event["msg"]))
        if count and total > _CONSOLE_CHARACTERS:
            return found[:count]
    return found


def _place(text: str) -> Place | None:
    try:
        return Place.read([int(piece) for piece in text.split(".")]) if text else None
    except ValueError:
        return None  # a link that was cut short: the end of the console is a good place to be


def _scalars(db: sqlite3.Connection, task: dict[str, Any]) -> Html:
    summary = [entry for variants in members(task, "last_metrics") for entry in members(variants)]
    if not summary:
        return Html("")
    by_metric = groupby(curves(db, task["id"], samples=_POINTS), key=lambda curve: curve.metric)
    drawn = [chart(metric, list(group)) for metric, group in islice(by_metric, _CHARTS)]
    summary.sort(key=lambda entry: (str(entry.get("metric")), str(entry.get("variant"))))
    names = ("metric", "variant", "value", "min_value", "max_value", "mean_value", "count")
    heads = ["Metric", "Variant", "Last", "Least", "Greatest", "Mean", "Reports"]
    rows: list[list[Value]] = [[number(entry.get(name)) for name in names] for entry in summary]
    figures = html('<div class="charts">{drawn}</div>', drawn=drawn)
    return section("Scalars", figures, table(heads, rows, numbers=frozenset(range(2, 7))))


def _parameters(task: dict[str, Any]) -> Html:
    rows: list[list[Value]] = [
        [item.get("section"), item.get("name"), item.get("value")]
        for items in members(task, "hyperparams")
        for item in members(items)
    ]
    objects = [
        html("<details><summary>{name}</summary><pre>{value}</pre></details>", name=one.get("name"), value=one["value"])
        for one in members(task, "configuration")
        if one.get("value")
    ]
    if not rows and not objects:
        return Html("")
    return section("Parameters", table(["Section", "Name", "Value"], rows) if rows else "", objects)


def _artifacts(task: dict[str, Any]) -> Html:
    rows: list[list[Value]] = [
        [link(str(item.get("uri", "")), item.get("key")), item.get("type"), size(item.get("content_size"))]
        for item in members(task, "execution", "artifacts")
    ]
    if not rows:
        return Html("")
    return section("Artifacts", table(["Name", "Type", "Size"], rows, numbers=frozenset({2})))


def _models(db: sqlite3.Connection, task: dict[str, Any]) -> Html:
    rows: list[list[Value]] = []
    for kind in ("input", "output"):
        for item in members(task, "models", kind):
            model = MODELS.find(db, str(item.get("model", ""))) or {}
            name = link(str(model.get("uri", "")), model.get("name") or item.get("name"))
            rows.append([kind, name, model.get("framework"), "yes" if model.get("ready") else "no"])
    return section("Models", table(["Kind", "Name", "Framework", "Published"], rows)) if rows else Html("")
