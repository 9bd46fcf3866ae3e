"""``clearml-agent server`` as a process: its words, its end, and what survives a kill."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from pyhocon import ConfigFactory

ANY_PORTS = ("--api-port", "0", "--web-port", "0", "--files-port", "0")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "clearml_agent_clone", "server", *arguments]


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=60, check=False, **options)


class Started:
    """A server process that says where it listens."""

    def __init__(self, data: Path) -> None:
        self.process = subprocess.Popen(
            command("--data", str(data), *ANY_PORTS), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        self.words = self.process.stdout.readline()
        found = re.search(r"API (\S+)", self.words)
        assert found is not None, self.words + self.process.stdout.read()
        self.url = found[1]
        pair = json.loads((data / "credentials.json").read_text())
        self.http = requests.Session()
        self.http.auth = (pair["access_key"], pair["secret_key"])

    def call(self, endpoint: str, **body: Any) -> Any:
        answer = self.http.post(f"{self.url}/{endpoint}", json=body, timeout=70)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.close()
        return code

    def close(self) -> None:
        self.http.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def started(data: Path) -> Iterator[Started]:
    server = Started(data)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        server.close()


def test_print_config_makes_credentials_and_ends(tmp_path: Path) -> None:
    data = tmp_path / "deep" / "data"
    ports = ("--api-port", "18", "--web-port", "19", "--files-port", "20")
    first = run("--print-config", "--data", str(data), *ports)
    assert (first.returncode, first.stderr) == (0, "")
    conf = ConfigFactory.parse_string(first.stdout)
    assert conf["api.api_server"] == "http://127.0.0.1:18"
    assert conf["api.web_server"] == "http://127.0.0.1:19"
    assert conf["api.files_server"] == "http://127.0.0.1:20"
    stored = json.loads((data / "credentials.json").read_text())
    assert conf["api.credentials.access_key"] == stored["access_key"]
    assert conf["api.credentials.secret_key"] == stored["secret_key"]
    assert stat.S_IMODE((data / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    assert run("--print-config", "--data", str(data), *ports).stdout == first.stdout
    assert "https" not in run("--print-config", "--data", str(data), "--host", "0.0.0.0").stdout


def test_printed_credentials_open_the_server(tmp_path: Path) -> None:
    conf = ConfigFactory.parse_string(run("--print-config", "--data", str(tmp_path)).stdout)
    with started(tmp_path) as server:
        server.http.auth = (conf["api.credentials.access_key"], conf["api.credentials.secret_key"])
        assert server.call("server.info")["api_version"] == "2.34"
        assert run("--print-config", "--data", str(tmp_path)).returncode == 0  # also while it is running


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_while_somebody_waits(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as server:
        queue = server.call("queues.get_default")["id"]
        answers: list[Any] = []
        thread = threading.Thread(
            target=lambda: answers.append(server.call("queues.get_next_task", queue=queue, wait=60))
        )
        thread.start()
        time.sleep(0.5)
        began = time.monotonic()
        server.process.send_signal(number)
        assert server.process.wait(20) == 0
        assert time.monotonic() - began < 5
        thread.join(10)
        assert answers == [{}]
    with started(tmp_path):
        pass


def says(outcome: subprocess.CompletedProcess[str], *words: str) -> None:
    assert outcome.returncode == 1
    assert outcome.stdout == ""
    assert len(outcome.stderr.splitlines()) == 1, outcome.stderr
    for word in words:
        assert word in outcome.stderr


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        outcome = run("--data", str(tmp_path / "d"), "--api-port", "0", "--web-port", port, "--files-port", "0")
    says(outcome, f"port {port} on 127.0.0.1 is in use", "--web-port")


def test_data_in_use(tmp_path: Path) -> None:
    with started(tmp_path):
        says(run("--data", str(tmp_path), *ANY_PORTS), f"{tmp_path} is in use by another server", "--data")


def test_data_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    says(run("--data", str(tmp_path / "file"), *ANY_PORTS), "is not a directory", "--data")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_data_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    says(run("--data", str(tmp_path / "d"), *ANY_PORTS), "cannot write", "--data")


def test_data_where_nothing_can_be_made() -> None:
    says(run("--data", "/proc/nothing/here", *ANY_PORTS), "cannot write", "--data")


def test_damaged_credentials_and_database(tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text("{}")
    says(run("--data", str(tmp_path), *ANY_PORTS), "credentials.json", "Remove it")
    (tmp_path / "credentials.json").unlink()
    (tmp_path / "server.db").write_bytes(b"not a database " * 1000)
    says(run("--data", str(tmp_path), *ANY_PORTS), "cannot use the database")


def test_bad_host_and_port(tmp_path: Path) -> None:
    says(run("--host", "no.such.host.invalid", "--data", str(tmp_path), *ANY_PORTS), "--host")
    says(run("--host", "192.0.2.1", "--data", str(tmp_path), *ANY_PORTS), "192.0.2.1", "--host")
    assert run("--api-port", "70000").returncode == 2
    says(run("--print-config", "--api-port", "0", "--data", str(tmp_path)), "--api-port 0")


def test_missing_extra(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['uvicorn'] = None; from clearml_agent_clone.__main__ import main; sys.exit(main())"
    outcome = subprocess.run(
        [sys.executable, "-c", hide, "server", "--data", str(tmp_path)], capture_output=True, text=True, check=False
    )
    says(outcome, "uvicorn", "[server]")


@pytest.mark.parametrize("after", [0.4, 0.9])
def test_a_kill_loses_nothing_acknowledged(tmp_path: Path, after: float) -> None:
    """Writers note what was acknowledged; after a SIGKILL in the middle all of it is there, and whole."""
    acknowledged: list[list[tuple[str, str, int]]] = [[], []]

    def write(server: Started, noted: list[tuple[str, str, int]]) -> None:
        http = requests.Session()
        http.auth = server.http.auth

        def call(endpoint: str, body: Any = None, **options: Any) -> Any:
            return http.post(f"{server.url}/{endpoint}", json=body, timeout=10, **options).json()["data"]

        headers = {"Content-Type": "application/json-lines"}
        with contextlib.suppress(requests.RequestException), http:
            for number in range(100_000):
                task = call("tasks.create", {"name": f"task {number}", "type": "testing"})["id"]
                noted.append((task, "created", 0))
                call("tasks.enqueue", {"task": task})
                noted.append((task, "queued", 0))
                line = json.dumps({"type": "log", "task": task, "msg": str(number)}).encode()
                call("events.add_batch", data=line, headers=headers)
                noted.append((task, "queued", 1))

    with started(tmp_path) as server:
        threads = [threading.Thread(target=write, args=(server, noted)) for noted in acknowledged]
        for thread in threads:
            thread.start()
        time.sleep(after)
        server.process.kill()
        for thread in threads:
            thread.join(20)
    assert all(len(noted) > 3 for noted in acknowledged)
    with started(tmp_path) as server:
        queue = server.call("queues.get_default")["id"]
        waiting = [entry["task"] for entry in server.call("queues.get_by_id", queue=queue)["queue"]["entries"]]
        stored = {task: (status, lines) for noted in acknowledged for task, status, lines in noted}
        for task, (status, lines) in stored.items():
            found = server.call("tasks.get_by_id", task=task)["task"]["status"]
            assert found == status or (status, found) == ("created", "queued")
            assert (task in waiting) == (found == "queued")
            assert server.call("events.get_task_log", task=task)["total"] >= lines
        assert len(waiting) == len(set(waiting))
