"""The web port: pages, login, and hostile content."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import uuid
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import requests

from clearml_agent_clone.server.documents import MODELS, PROJECTS, TASKS
from clearml_agent_clone.server.embedded import running_server

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
VOID = {"meta", "input", "circle", "polyline", "br"}


class Page(HTMLParser):
    """A page as a browser would see it; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.style = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "\n".join(self.texts)

    @property
    def links(self) -> list[str]:
        return [value for tag, name, value in self.attributes if (tag, name) == ("a", "href")]


def see(server: Any, path: str, status: int = 200) -> Page:
    answer = server.http.get(server.web_url + path)
    assert answer.status_code == status
    policy = answer.headers["content-security-policy"]
    assert "script" not in policy
    assert policy.startswith("default-src 'none';")
    page = Page(answer.text)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert not {"script", "link", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name in ("style", "src")]
    assert all(link.startswith(("/", "http://", "https://")) for link in page.links)
    return page


def make(server: Any, **fields: Any) -> str:
    key = uuid.uuid4().hex
    with server.state.db.write() as db:
        TASKS.insert(db, {"id": key, "name": "a task", "status": "completed", **fields})
    return key


def report(server: Any, task: str, *events: dict[str, Any]) -> None:
    lines = "\n".join(json.dumps({"task": task, **event}) for event in events)
    headers = {"Content-Type": "application/json-lines"}
    assert server.http.post(f"{server.api_url}/events.add_batch", data=lines, headers=headers).status_code == 200


def log(number: int) -> dict[str, Any]:
    return {"type": "log", "msg": f"line {number:04}\n", "timestamp": number // 7 + 1}


def evil_task(server: Any) -> str:
    project, model = uuid.uuid4().hex, uuid.uuid4().hex
    with server.state.db.write() as db:
        PROJECTS.insert(db, {"id": project, "name": EVIL, "description": EVIL})
        MODELS.insert(db, {"id": model, "name": EVIL, "uri": "javascript:alert(3)", "framework": EVIL})
    item = {"section": EVIL, "name": EVIL, "value": EVIL}
    task = make(
        server,
        name=EVIL,
        status="failed",
        project=project,
        type=EVIL,
        status_reason=EVIL,
        status_message=EVIL,
        comment=EVIL,
        tags=[EVIL],
        last_worker=EVIL,
        script={"repository": EVIL, "branch": EVIL, "entry_point": EVIL},
        hyperparams={EVIL: {EVIL: item}, "odd": 5, "odder": {"x": None}},
        configuration={EVIL: {"name": EVIL, "value": EVIL}},
        execution={"artifacts": [{"key": EVIL, "type": EVIL, "uri": "javascript:alert(4)", "content_size": EVIL}]},
        models={"input": [{"name": EVIL, "model": model}], "output": [{"name": EVIL, "model": EVIL}]},
    )
    metric = {"metric": EVIL, "variant": EVIL, "iter": 1, "value": 1}
    report(server, task, {"type": "log", "msg": EVIL}, {"type": "training_stats_scalar", **metric})
    return task


def test_hostile_content_stays_text(shared_server: Any) -> None:
    task = evil_task(shared_server)
    page = see(shared_server, f"/projects/x/tasks/{task}/output/log")
    assert page.text.count(EVIL) > 20
    project = next(link for link in page.links if re.fullmatch(r"/projects/[0-9a-f]{32}", link))
    assert EVIL in see(shared_server, project).text
    assert EVIL in see(shared_server, "/").text
    text = shared_server.http.get(f"{shared_server.web_url}/projects/x/tasks/{task}/console.txt")
    assert text.text == EVIL + "\n"
    assert text.headers["content-type"].startswith("text/plain")
    assert text.headers["x-content-type-options"] == "nosniff"


def test_the_page_of_a_task(shared_server: Any) -> None:
    with shared_server.state.db.write() as db:
        PROJECTS.insert(db, {"id": "p" * 32, "name": "my project"})
    uri = f"{shared_server.files_url}/p/t/artifacts/x.json"
    task = make(
        shared_server,
        name="my training",
        project="p" * 32,
        status="stopped",
        status_reason="the reason",
        status_message="the message",
        active_duration=3720,
        started="2026-11-20T19:50:09.476000+00:00",
        hyperparams={"Args": {"lr": {"section": "Args", "name": "lr", "value": "0.1"}}},
        execution={"artifacts": [{"key": "result", "type": "dict", "uri": uri, "content_size": 2048}]},
    )
    curve = [
        {"type": "training_stats_scalar", "metric": "loss", "variant": "train", "iter": n, "value": 1 / (n + 1)}
        for n in range(5)
    ]
    report(shared_server, task, *curve, {"type": "log", "msg": "\x1b[31mred\x1b[0m\n10%\r100%\n"})
    page = see(shared_server, f"/projects/{'p' * 32}/tasks/{task}/output/log")
    for shown in (
        *("my training", "stopped", "the reason: the message", "my project", "1 h 02 min", "2026-11-20 19:50:09 UTC"),
        *("red\n100%", "loss", "train", "Args", "lr", "0.1", "2.0 KiB", "0.456667"),
    ):
        assert shown in page.text
    assert uri in page.links
    assert "polyline" in page.tags
    assert ("meta", "http-equiv", "refresh") not in page.attributes


@pytest.mark.parametrize(
    "path",
    [
        "/projects/{p}/experiments/{t}",
        "/projects/{p}/experiments/{t}/output/log",
        "/projects/{p}/tasks/{t}/output/log",
        "/projects/*/tasks/{t}/info-output/metrics/scalar",
        "/pipelines/{p}/experiments/{t}",
        "/datasets/simple/{p}/experiments/{t}",
    ],
)
def test_links_of_all_ages(shared_server: Any, path: str) -> None:
    task = make(shared_server, name="found it")
    assert "found it" in see(shared_server, path.format(p="x" * 32, t=task)).text


@pytest.mark.parametrize(
    "path", ["/nothing", "/projects/{}", "/projects/*/tasks/{}", "/projects/*/tasks/{}/console.txt"]
)
def test_missing(shared_server: Any, path: str) -> None:
    assert "Not found" in see(shared_server, path.format("f" * 32), 404).text


def test_a_running_task_is_asked_for_again(shared_server: Any) -> None:
    task = make(shared_server, status="in_progress")
    assert ("meta", "http-equiv", "refresh") in see(shared_server, f"/projects/*/tasks/{task}").attributes


def test_the_console_page_by_page(shared_server: Any) -> None:
    task = make(shared_server, status="in_progress")
    report(shared_server, task, *(log(number) for number in range(450)))
    path, seen = f"/projects/*/tasks/{task}/output/log", []
    for _ in range(3):
        page = see(shared_server, path)
        seen.append(re.findall(r"line \d{4}", page.text))
        older = [link for link in page.links if "older=" in link]
        if not older:
            break
        (path,) = older
    assert [len(lines) for lines in seen] == [200, 200, 50]
    assert seen[0][-1] == "line 0449"
    assert [line for lines in reversed(seen) for line in lines] == [f"line {number:04}" for number in range(450)]
    assert ("meta", "http-equiv", "refresh") not in page.attributes
    assert any(link.endswith("/output/log") for link in page.links)
    text = shared_server.http.get(f"{shared_server.web_url}/projects/*/tasks/{task}/console.txt").text
    assert text == "".join(f"line {number:04}\n" for number in range(450))


def test_a_huge_console(shared_server: Any) -> None:
    task = make(shared_server)
    report(shared_server, task, *({"type": "log", "msg": f"{n}" + "x" * 200_000, "timestamp": n + 1} for n in range(3)))
    page = see(shared_server, f"/projects/*/tasks/{task}")
    assert [text[:1] for text in page.text.split("\n") if text.endswith("xxx")] == ["2"]
    report(shared_server, task, {"type": "log", "msg": "y" * 2_000_000})
    assert len(see(shared_server, f"/projects/*/tasks/{task}").text) < 400_000
    for bad in ("junk", "1.2", "1.2.3.4", "9" * 5000, ""):
        see(shared_server, f"/projects/*/tasks/{task}?older={bad}")


def test_lists_page_by_page(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        with server.state.db.write() as db:
            PROJECTS.insert(db, {"id": "p", "name": "the project"})
            for number in range(120):
                TASKS.insert(
                    db,
                    {
                        "id": f"{number:032}",
                        "name": f"task {number:03}",
                        "status": "created",
                        "project": "p",
                        "last_update": f"2026-01-01T00:{number // 60:02}:{number % 60:02}.000000+00:00",
                    },
                )
        session = requests.Session()
        session.auth = (server.access_key, server.secret_key)
        for base in ("/", "/projects/p", "/projects/p/tasks"):
            seen: list[str] = []
            for number in range(3):
                answer = session.get(f"{server.web_url}{base}?page={number}")
                seen += re.findall(r"task \d{3}", Page(answer.text).text)
            assert seen == [f"task {number:03}" for number in reversed(range(120))]
        assert session.get(f"{server.web_url}/?page=-1").status_code == 200
        assert session.get(f"{server.web_url}/?page=99999999999999999999").status_code == 200
        session.close()


def test_an_empty_server(tmp_path: Path) -> None:
    with running_server(tmp_path / "data") as server:
        answer = requests.get(server.web_url, auth=(server.access_key, server.secret_key), timeout=30)
        assert "Nothing yet." in Page(answer.text).text


@pytest.mark.parametrize("path", ["/", "/projects/x", "/projects/x/tasks/y/output/log?older=1.0.2", "/nothing"])
def test_nothing_without_credentials(shared_server: Any, path: str) -> None:
    answer = requests.get(shared_server.web_url + path, timeout=30, allow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login?next=")
    assert answer.content == b""


def test_login(shared_server: Any) -> None:
    task = make(shared_server, name="behind the login")
    path = f"/projects/*/tasks/{task}/output/log?older="
    with requests.Session() as browser:
        form = Page(browser.get(shared_server.web_url + path).text)
        assert ("input", "name", "secret") in form.attributes
        back = next(value for tag, name, value in form.attributes if (tag, name) == ("input", "value"))
        assert back == path
        fields = {"key": shared_server.access_key, "secret": shared_server.secret_key, "next": back}
        answer = browser.post(f"{shared_server.web_url}/login", data=fields, allow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, path)
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert "behind the login" in browser.get(shared_server.web_url + path).text
        token = browser.cookies["clearml_token_basic"]
        answer = browser.post(f"{shared_server.web_url}/logout", allow_redirects=False)
        assert answer.headers["location"] == "/login"
        assert "clearml_token_basic" not in browser.cookies
        assert "Log in" in browser.get(shared_server.web_url + path).text
    answer = requests.get(
        shared_server.web_url, cookies={"clearml_token_basic": token}, timeout=30, allow_redirects=False
    )
    assert answer.status_code == 303  # the session is over, not only the cookie gone


@pytest.mark.parametrize(
    "fields", [{}, {"key": "x", "secret": "y"}, {"key": "", "secret": ""}, {"key": EVIL, "secret": "y", "next": EVIL}]
)
def test_login_refused(shared_server: Any, fields: dict[str, str]) -> None:
    answer = requests.post(f"{shared_server.web_url}/login", data=fields, timeout=30)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "No such key and secret." in Page(answer.text).text


@pytest.mark.parametrize(
    "target",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:x", "", "/a\r\nX: y"],
)
def test_login_leads_nowhere_else(shared_server: Any, target: str) -> None:
    fields = {"key": shared_server.access_key, "secret": shared_server.secret_key, "next": target}
    answer = requests.post(f"{shared_server.web_url}/login", data=fields, timeout=30, allow_redirects=False)
    assert answer.headers["location"] == "/"


def test_forms_of_other_pages_are_refused(shared_server: Any) -> None:
    fields = {"key": shared_server.access_key, "secret": shared_server.secret_key}
    own = {"Origin": shared_server.web_url, "Sec-Fetch-Site": "same-origin"}
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        for path in ("/login", "/logout"):
            answer = requests.post(shared_server.web_url + path, data=fields, headers=headers, timeout=30)
            assert answer.status_code == 403
    answer = requests.post(
        f"{shared_server.web_url}/login", data=fields, headers=own, timeout=30, allow_redirects=False
    )
    assert answer.status_code == 303
    answer = requests.post(f"{shared_server.web_url}/login", data=b"x" * 20_000, timeout=30)
    assert answer.status_code == 413


def test_reading_only(shared_server: Any) -> None:
    task = make(shared_server)
    for method in ("POST", "PUT", "DELETE"):
        assert shared_server.http.request(method, f"{shared_server.web_url}/projects/*/tasks/{task}").status_code == 405
