"""Real git repositories to fetch from, and a git server over HTTP that asks for passwords."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import attrs
import pytest

from clearml_agent_clone.api.types import Script
from clearml_agent_clone.source import SourceResult, SourceSettings, fetch_source, plan_source
from clearml_agent_clone.util.process import Cancel

Fetch = Callable[..., SourceResult]


class Recorder:
    """A console that keeps what it was given."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.raw = b""

    def say(self, text: str) -> None:
        self.lines.append(text)

    def write(self, data: bytes) -> None:
        self.raw += data

    @property
    def text(self) -> str:
        return "\n".join(self.lines) + self.raw.decode(errors="replace")


class Upstream:
    """A repository that somebody works in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def new(cls, path: Path) -> Upstream:
        path.mkdir(parents=True)
        repository = cls(path)
        repository.git("init", "--quiet", "--template=", "--initial-branch=main")
        return repository

    def git(self, *arguments: str, stdin: bytes | None = None) -> str:
        return self.raw(*arguments, stdin=stdin).decode(errors="surrogateescape").strip()

    def raw(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        done = subprocess.run(["git", *arguments], cwd=self.path, input=stdin, capture_output=True, check=False)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def commit(self, message: str = "change") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")

    def diff(self, *options: str) -> str:
        """What the SDK would record."""
        return self.raw("diff", *options, "HEAD").decode(errors="surrogateescape")


@pytest.fixture(scope="session", autouse=True)
def plain_git(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No configuration of whoever runs the tests; the home folder that git sees."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n[core]\n\tfsync = none\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "CLEARML_", "TRAINS_"))]:
            patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        yield home


@pytest.fixture(scope="session")
def template(plain_git: Path, tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    repository = Upstream.new(tmp_path_factory.mktemp("template") / "project")
    repository.write("train.py", "import model\nprint(model.answer())\n")
    repository.write("model.py", "def answer():\n    return 42\n")
    repository.write("tools/make.sh", "echo made\n")
    repository.commit("first")
    return repository


@pytest.fixture
def upstream(template: Upstream, tmp_path: Path) -> Upstream:
    """A repository with one commit on ``main``."""
    path = tmp_path / "upstream" / "project"
    shutil.copytree(template.path, path, symlinks=True)
    return Upstream(path)


@pytest.fixture
def settings(tmp_path: Path) -> SourceSettings:
    return SourceSettings(vcs_cache_path=tmp_path / "cache", allow_local=True, attempts=1)


@pytest.fixture
def console() -> Recorder:
    return Recorder()


@pytest.fixture
def fetch(tmp_path: Path, settings: SourceSettings, console: Recorder) -> Fetch:
    """Plan and fetch a script given by its fields, each time into a new folder."""
    count = 0

    def fetch(given: SourceSettings | None = None, *, cancel: Cancel | None = None, **fields: str) -> SourceResult:
        nonlocal count
        count += 1
        script = Script(**{"entry_point": "train.py", **fields})  # type: ignore[arg-type] # all of them are texts
        plan = plan_source(script, given or settings)
        return fetch_source(plan, tmp_path / f"run{count}", console, cancel)

    return fetch


@attrs.define
class GitHost:
    """A server of ``git http-backend``.

    ``passwords`` has user and password by host name; a host that is not in it asks for none.
    """

    root: Path
    port: int = 0
    passwords: dict[str, tuple[str, str]] = attrs.Factory(dict)
    asked: list[tuple[str, str, str]] = attrs.Factory(list)
    gate: threading.Event = attrs.Factory(threading.Event)
    packs: int = 0
    waiting: threading.Event = attrs.Factory(threading.Event)
    status: int = 0

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{name}"

    @property
    def logins(self) -> list[tuple[str, str]]:
        """Host and ``user:password`` of every request that had them."""
        return [
            (host, base64.b64decode(header.removeprefix("Basic ")).decode()) for host, _, header in self.asked if header
        ]


class GitServer(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, host: GitHost) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.host = host


class Handler(BaseHTTPRequestHandler):
    server: GitServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        self._serve(self._body())

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _serve(self, body: bytes) -> None:
        host = self.server.host
        name = (self.headers.get("Host") or "").rpartition(":")[0]
        login = self.headers.get("Authorization") or ""
        host.asked.append((name, self.path, login))
        wanted = host.passwords.get(name)
        if host.status:
            self.send_error(host.status)
        elif wanted and login != "Basic " + base64.b64encode(":".join(wanted).encode()).decode():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.end_headers()
        else:
            if b"command=fetch" in body:
                host.packs += 1
                host.waiting.set()
                host.gate.wait(60)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self._answer(body)

    def _answer(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environ = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.host.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": os.environ["HOME"],
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environ, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = next((value for key, value in headers if key == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for key, value in headers:
            if key != "Status":
                self.send_header(key, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def git_host(tmp_path: Path, upstream: Upstream) -> Iterator[GitHost]:
    """Serves all that is in the upstream's folder; transfers wait while ``gate`` is clear."""
    host = GitHost(tmp_path / "upstream")
    host.gate.set()
    server = GitServer(host)
    host.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield host
    host.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()
