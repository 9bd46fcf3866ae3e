"""Where text leaves the agent beside the console: status words, the line of an error, a dry run's output."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from clearml_agent_clone import __main__ as program
from clearml_agent_clone.api.session import ServerAccess, Session
from clearml_agent_clone.config import load_settings
from clearml_agent_clone.config.secret_values import text_secrets
from clearml_agent_clone.logs import Redactor


class _Server(BaseHTTPRequestHandler):
    said: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
        self.said.append(body)
        self._answer({"token": "t", "updated": 1})

    def do_GET(self) -> None:
        self._answer({"token": "t"})

    def _answer(self, data: dict[str, Any]) -> None:
        meta = {"id": "1", "trx": "1", "result_code": 200, "endpoint": {"actual_version": "2.30"}}
        text = json.dumps({"meta": meta, "data": data}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def server() -> Iterator[str]:
    _Server.said = []
    httpd = HTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_the_words_of_a_status_are_masked(server: str, tmp_path: Path) -> None:
    settings = load_settings(
        None,
        {
            "HOME": str(tmp_path),
            "CLEARML_API_HOST": server,
            "CLEARML_API_ACCESS_KEY": "k",
            "CLEARML_API_SECRET_KEY": "s",
        },
    ).settings
    with Session(ServerAccess.from_settings(settings.api)) as session:
        session.hide = Redactor(["status-secret-1"]).redact
        session.call("tasks.failed", {"task": "status-secret-1", "status_reason": "no status-secret-1"})
    assert {"task": "status-secret-1", "status_reason": "no ****"} in _Server.said


def test_the_line_of_an_error_is_masked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load_settings(None, {"HOME": str(tmp_path), "DB_PASSWORD": "error-secret-1"})
    program._tell("cannot read error-secret-1 at https://user:pass@host/x")
    assert capsys.readouterr().err == "clearml_agent: ERROR: cannot read **** at https://****@host/x\n"


def test_secrets_in_a_task_s_arguments_are_learned() -> None:
    assert set(
        text_secrets("-e DB_PASSWORD=arg-secret-1 -e 'API_TOKEN=arg-secret-2' -e PLAIN=x https://u:arg-3x@h")
    ) == {
        "arg-secret-1",
        "arg-secret-2",
        "arg-3x",
    }
