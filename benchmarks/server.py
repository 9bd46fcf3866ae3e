"""The server that both agents are measured against, and a small client that watches it."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, final

import attrs
import requests
from pyhocon import ConfigFactory

from benchmarks.contender import Contender

_START_LIMIT = 30.0


@attrs.frozen
class Watcher:
    """Calls the server's API. One kept-alive connection, so that a call costs a round trip and no more."""

    api: str
    access_key: str
    secret_key: str
    http: requests.Session = attrs.field(factory=requests.Session)

    def login(self) -> Watcher:
        answer = self.http.post(f"{self.api}/auth.login", auth=(self.access_key, self.secret_key), timeout=30)
        answer.raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {answer.json()['data']['token']}"
        return self

    def call(self, endpoint: str, **body: Any) -> dict[str, Any]:
        answer = self.http.post(f"{self.api}/{endpoint}", json=body, timeout=60)
        if not answer.ok:
            raise RuntimeError(f"{endpoint} {json.dumps(body)[:300]}: {answer.status_code} {answer.text[:500]}")
        data = answer.json()["data"]
        return data if isinstance(data, dict) else {}

    def task(self, task: str, *fields: str) -> dict[str, Any]:
        """The named fields of one task."""
        found = self.call("tasks.get_all", id=[task], only_fields=["id", *fields])["tasks"]
        assert found, f"task {task} is gone"
        return dict(found[0])

    def wait_worker(self, worker: str, limit: float = 60.0) -> None:
        """Until ``worker`` has registered."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if any(entry["id"] == worker for entry in self.call("workers.get_all")["workers"]):
                return
            time.sleep(0.1)
        raise RuntimeError(f"worker {worker} did not register within {limit:.0f} s")


@final
class Server:
    """The embedded server as a process of its own; use it in a ``with`` statement."""

    def __init__(self, contender: Contender, data: Path) -> None:
        self._program = contender.program
        self._data = data
        home = data.parent / "server-home"
        home.mkdir(parents=True, exist_ok=True)
        self._environ = {
            **contender.environ(),
            "HOME": str(home),
        }  # a daemon's end takes its own home's processes along
        ports = free_ports(3)
        self._ports = [
            option
            for name, port in zip(("api", "web", "files"), ports, strict=True)
            for option in (f"--{name}-port", str(port))
        ]
        self.api = f"http://127.0.0.1:{ports[0]}"
        self.conf = ""
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Server:
        command = [*self._program, "server", "--data", str(self._data), *self._ports]
        with (self._data.parent / "server.log").open("wb") as log:
            self._process = subprocess.Popen(
                command, env=self._environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait()
        self.conf = subprocess.run(
            [*command, "--print-config"], env=self._environ, capture_output=True, text=True, check=True
        ).stdout
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def watcher(self) -> Watcher:
        credentials = ConfigFactory.parse_string(self.conf).get_config("api.credentials")
        return Watcher(self.api, credentials.get_string("access_key"), credentials.get_string("secret_key")).login()

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_LIMIT
        while time.monotonic() < deadline and self._process.poll() is None:
            if _answers(self.api):
                return
            time.sleep(0.05)
        raise RuntimeError(f"the server did not start; see {self._data.parent / 'server.log'}")


def _answers(api: str) -> bool:
    try:
        return requests.get(f"{api}/debug.ping", timeout=5).ok
    except requests.ConnectionError:
        return False


def free_ports(count: int) -> list[int]:
    """``count`` different ports of 127.0.0.1 that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
