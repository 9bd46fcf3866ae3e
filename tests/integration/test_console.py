"""The shipper and the embedded server, over real HTTP, read back as other clients read it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from clearml_agent_clone.api import Client, ServerAccess, Session
from clearml_agent_clone.api.errors import InvalidRequest, ServerUnreachable
from clearml_agent_clone.api.session import ONCE
from clearml_agent_clone.logs import Redactor, Shipper, Spool, arrived_by

from .conftest import Server


@attrs.define
class Console:
    """A task's spool and the way from there to the server; ``lose_next`` loses the next answer."""

    client: Client
    task: str
    folder: Path
    spool: Spool
    lose_next: bool = False
    stamps: list[int] = attrs.Factory(list)

    def shipper(self) -> Shipper:
        return Shipper(
            self.spool,
            self.send,
            self.task,
            "host:0",
            self.folder,
            Redactor(["hunter2hunter2"]),
            arrived=arrived_by(self.client.session.call, self.task),
        )

    def send(self, lines: Sequence[bytes]) -> Any:
        answer = self.client.events.send(lines, retry=ONCE)
        if self.lose_next:
            self.lose_next = False
            raise ServerUnreachable("the answer got lost", may_have_acted=True)
        return answer

    def text(self) -> str:
        """The whole console, read from its beginning, page by page."""
        parts: list[str] = []
        self.stamps = []
        body: dict[str, Any] = {"task": self.task, "navigate_earlier": False, "order": "asc", "batch_size": 7}
        while events := self.client.session.call("events.get_task_log", body)["events"]:
            parts.extend(event["msg"] for event in events)
            self.stamps.extend(event["timestamp"] for event in events)
            body["from_timestamp"] = events[-1]["timestamp"]
        return "".join(parts)


@pytest.fixture
def console(shared_server: Server, tmp_path: Path) -> Iterator[Console]:
    task = str(shared_server.call("tasks.create", name="a task", type="training")["id"])
    access = ServerAccess(
        url=shared_server.api_url, access_key=shared_server.access_key, secret_key=shared_server.secret_key
    )
    spool = Spool.create(tmp_path)
    with Client(Session(access, host_name="test-host")) as client:
        yield Console(client, task, tmp_path, spool)
    spool.close()


def test_a_hundred_thousand_lines_are_read_back_complete_and_in_order(console: Console) -> None:
    expected = "".join(f"line {number} of a hundred thousand\n" for number in range(100_000))
    console.spool.write(expected.encode())
    shipper = console.shipper()
    shipper.remark("INFO", "last remark")
    assert shipper.finish(time.monotonic() + 30).complete
    assert console.text() == expected + "last remark\n"


def test_answers_lost_and_runners_gone_leave_every_line_once(console: Console) -> None:
    for number in range(20):
        console.spool.write(b"line %d\n" % number)
        console.lose_next = number % 3 == 1
        shipper = console.shipper()
        if number % 2:
            shipper.step(time.monotonic())
        if number % 5:
            continue  # the runner is gone; nobody waits for an answer
        shipper.finish(time.monotonic() + 10)
    console.shipper().finish(time.monotonic() + 10)
    assert console.text() == "".join(f"line {number}\n" for number in range(20))


def test_the_server_is_asked_by_the_timestamp(console: Console) -> None:
    arrived = arrived_by(console.client.session.call, console.task)
    assert not arrived(int(time.time() * 1000))
    console.spool.write(b"one\n")
    console.shipper().finish()
    stamp = console.client.session.call("events.get_task_log", {"task": console.task})["events"][0]["timestamp"]
    assert arrived(stamp)
    assert not arrived(stamp - 1)
    assert not arrived(stamp + 1)


def test_a_task_that_takes_no_events_any_more_is_said(console: Console, shared_server: Server) -> None:
    console.spool.write(b"one\n")
    shared_server.call("tasks.delete", task=console.task, force=True)
    with pytest.raises(InvalidRequest):
        console.send([b'{"type":"log","task":"%s","msg":"x"}' % console.task.encode()])
    delivery = console.shipper().finish(time.monotonic() + 10)
    assert delivery.undelivered_bytes == 4
    assert delivery.errors


_WRITER = """
import os, random, sys, time
luck, fd, number = random.Random(1), int(sys.argv[1]), 0
while number < int(sys.argv[2]):
    count = luck.choice((1, 10, 1000, 20000))
    data = b"".join(b"line %07d\\n" % (number + more) for more in range(count))
    cut = luck.randrange(len(data))
    os.write(fd, data[:cut])
    time.sleep(luck.random() * 0.02)
    os.write(fd, data[cut:])
    number += count
print(number)
"""
_RUNNERS = """
import os, pathlib, random, signal, sys, time
from clearml_agent_clone.api import Client, ServerAccess, Session
from clearml_agent_clone.logs import Redactor, Shipper, Spool, arrived_by, sender
sender._SECOND_LOOK = 0.4  # or most of them would die while they wait for it
url, key, secret, task, folder, rounds, seed = sys.argv[1:]
luck = random.Random(int(seed))

def run():
    client = Client(Session(ServerAccess(url=url, access_key=key, secret_key=secret), host_name="h"))
    folder_ = pathlib.Path(folder)
    return Shipper(
        Spool.open(folder_), client.events.send, task, "host:0", folder_, Redactor(["hunter2hunter2"]),
        arrived=arrived_by(client.session.call, task), keep_bytes=1 << 20,
    )

for _ in range(int(rounds)):
    pid = os.fork()
    if not pid:
        shipper = run()
        while True:
            time.sleep(min(shipper.step(time.monotonic()), 0.02))
    time.sleep(0.005 + luck.random() * luck.choice((0.05, 0.2, 0.9)))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
delivery = run().finish(time.monotonic() + 60)
sys.exit(0 if delivery.complete else repr(delivery))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_runners_killed_in_the_middle_of_a_flood_lose_no_line_and_repeat_none(
    console: Console, shared_server: Server, seed: int
) -> None:
    lines = 400_000
    writer = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(console.spool.fd), str(lines)],
        pass_fds=(console.spool.fd,),
        stdout=subprocess.PIPE,
        text=True,
    )
    server = (shared_server.api_url, shared_server.access_key, shared_server.secret_key)
    runners = [sys.executable, "-c", _RUNNERS, *server, console.task, str(console.folder), "25", str(seed)]
    first = subprocess.run(runners, check=False, capture_output=True, text=True)
    written = int(writer.communicate()[0])
    assert console.shipper().finish(time.monotonic() + 60).complete, first.stderr
    text = console.text()
    assert text == "".join(f"line {number:07d}\n" for number in range(written))
    stamps = console.stamps
    assert stamps == sorted(set(stamps))


_FLOOD = """
import pathlib, sys, time
from clearml_agent_clone.api import Client, ServerAccess, Session
from clearml_agent_clone.logs import Redactor, Shipper, Spool
url, key, secret, task, folder = sys.argv[1:]
client = Client(Session(ServerAccess(url=url, access_key=key, secret_key=secret), host_name="h"))
spool = Spool.create(pathlib.Path(folder))
shipper = Shipper(spool, client.events.send, task, "host:1", pathlib.Path(folder), Redactor())
print("ready", flush=True)
while True:
    spool.write(b"a line of a task that floods its console\\n" * 50_000)
    time.sleep(min(shipper.step(time.monotonic()), 0.1))
"""


def test_a_prompt_is_seen_at_once_while_another_task_floods(
    console: Console, shared_server: Server, tmp_path: Path
) -> None:
    folder = tmp_path / "flood"
    folder.mkdir()
    other = str(shared_server.call("tasks.create", name="another task", type="training")["id"])
    server = (shared_server.api_url, shared_server.access_key, shared_server.secret_key)
    flood = subprocess.Popen(
        [sys.executable, "-c", _FLOOD, *server, other, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert flood.stdout is not None
        assert flood.stdout.readline() == "ready\n"
        delays = []
        shipper = console.shipper()
        for number in range(3):
            console.spool.write(b"a line\nName %d: " % number)
            begin = time.monotonic()
            while f"Name {number}: " not in console.text():
                time.sleep(min(shipper.step(time.monotonic()), 0.05))
                assert time.monotonic() < begin + 20
            delays.append(time.monotonic() - begin)
        assert min(delays) < 1.5  # a second, on a machine with little else to do
    finally:
        flood.kill()
        flood.communicate()


@pytest.mark.sdk
def test_the_sdk_reads_it_as_it_was_printed(console: Console, shared_server: Server) -> None:
    shipper = console.shipper()
    console.spool.write("naïve €\n\r10%\r100%\nhunter2hunter2\n".encode())
    shipper.finish()
    console.spool.write(b"second report\n")
    shipper.finish()
    script = (
        "import sys; from clearml import Task\n"
        "for report in Task.get_task(task_id=sys.argv[1]).get_reported_console_output(10): print(ascii(report))"
    )
    environ = {**os.environ, "CLEARML_CONFIG_FILE": str(shared_server.conf), "PYTHONIOENCODING": "utf-8"}
    read = subprocess.run(
        [sys.executable, "-c", script, console.task], env=environ, check=True, capture_output=True, text=True
    )
    assert read.stdout.splitlines()[-2:] == [ascii("naïve €\n100%\n****\n"), ascii("second report\n")]
