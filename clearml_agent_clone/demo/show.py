"""The demo from its first line on the terminal to its last."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from clearml_agent_clone.api.access import ServerAccess
from clearml_agent_clone.api.session import Session
from clearml_agent_clone.demo.project import SCRIPT, make_project
from clearml_agent_clone.demo.record import has_sdk, record_with_api, record_with_sdk
from clearml_agent_clone.demo.worker import QUEUE, WORKER, isolated_environ, running_worker
from clearml_agent_clone.errors import Fatal, UserError
from clearml_agent_clone.util.files import write_atomic

_LIMIT = 300.0
_LOOK_EVERY = 0.2
_FINAL = frozenset({"completed", "failed", "stopped", "closed", "published"})
_INTERRUPTED = 130


def demo() -> int:
    """Run the demo; the exit code: 0 when the task completed, 1 when it did not, 130 after Ctrl-C.

    Raises:
        UserError: the server's packages or git are missing.
        Fatal: server, worker or SDK did not do their part.
    """
    began = time.monotonic()
    try:
        with _signals_unwind(), tempfile.TemporaryDirectory(prefix="clearml-agent-demo-") as name:
            completed = _run(Path(name))
    except KeyboardInterrupt:
        _say("\nInterrupted. Server, worker and folder are gone.")
        return _INTERRUPTED
    _say(f"\nServer, worker and folder are gone again. The demo took {time.monotonic() - began:.1f} s.")
    return 0 if completed else 1


def _run(folder: Path) -> bool:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(_server(folder / "server"))
        access = ServerAccess(server.api_url, access_key=server.access_key, secret_key=server.secret_key)
        session = stack.enter_context(Session(access))
        _say(f"server    {server.api_url}, its data in {folder} until the demo ends")
        environ = isolated_environ(folder, _client_config(folder, server.conf_path))
        stack.enter_context(running_worker(folder, environ, session))
        stack.callback(_hold_signals)  # the last thing in is the first thing out: cleaning up is not interrupted
        _say(f'worker    "{WORKER}", takes tasks from the queue "{QUEUE}"')
        project = make_project(folder / "project")
        _say(f"project   a git repository with {SCRIPT}: one commit ({project.commit[:8]}) and an uncommitted change")
        if has_sdk():
            task, how = record_with_sdk(project, environ), "with the ClearML SDK"
        else:
            task, how = record_with_api(project, session), "over the REST API (the ClearML SDK is not installed here)"
        _say(f"task      {task}, made {how}")
        session.call("tasks.enqueue", {"task": task, "queue_name": QUEUE})
        _say("\nEnqueued. Its console, as it reaches the server:")
        lines = _follow(session, task)
        return _conclude(session, task, lines)


def _server(data: Path) -> Any:
    try:
        from clearml_agent_clone.server.embedded import running_server  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise UserError(
            f"the demo needs a server, and the package {error.name} is not installed",
            remedy='Install the extra: pip install "clearml-agent-clone[server]"',
            code="server-extra-missing",
        ) from None
    return running_server(data)


def _client_config(folder: Path, conf: Path) -> Path:
    """The server's own configuration for clients, with an SDK that does not hold up the end of a script for seconds."""
    own = folder / "clearml.conf"
    write_atomic(own, conf.read_text() + "sdk.development.report_use_subprocess: false\n", durable=False)
    return own


def _follow(session: Session, task: str) -> list[str]:
    """Print the console as it grows until the task has ended; all its lines."""
    lines: list[str] = []
    deadline = time.monotonic() + _LIMIT
    while time.monotonic() < deadline:
        # The status first: what is written before a final status is then certainly in the log that follows.
        status = session.call("tasks.get_by_id", {"task": task})["task"]["status"]
        body = {"task": task, "navigate_earlier": False, "order": "asc", "batch_size": 5000}
        events = session.call("events.get_task_log", body)["events"]
        now = "\n".join(str(event["msg"]).rstrip("\n") for event in events).splitlines()
        for line in now[len(lines) :]:
            _say(f"  | {line}")
        lines = now
        if status in _FINAL:
            return lines
        time.sleep(_LOOK_EVERY)
    raise Fatal(f"the task has not ended after {_LIMIT:.0f} s", code="demo-too-slow")


def _conclude(session: Session, task: str, lines: list[str]) -> bool:
    found = session.call("tasks.get_by_id", {"task": task})["task"]
    completed = bool(found["status"] == "completed")
    _say(f"\nstatus    {found['status']} ({found.get('status_reason') or 'no reason given'})")
    for metric in (found.get("last_metrics") or {}).values():
        for one in metric.values():
            _say(f"scalar    {one['metric']}/{one['variant']} = {one['value']:.4f}")
    timing = next((line for line in lines if line.startswith("Timing: ")), None)
    if timing:
        _say(f"timing    {timing.removeprefix('Timing: ')}")
    return completed


@contextlib.contextmanager
def _signals_unwind() -> Iterator[None]:
    """Let SIGTERM unwind the stack like Ctrl-C, and put things right afterwards."""

    def leave(_number: int, _frame: FrameType | None) -> NoReturn:
        _hold_signals()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _hold_signals() -> None:
    """A second Ctrl-C would leave behind what the first one is just cleaning up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
