"""The demo's worker: a real daemon in a process of its own, in a home of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from clearml_agent_clone.api.session import Session
from clearml_agent_clone.errors import Fatal
from clearml_agent_clone.launch.ending import end_all

QUEUE = "demo"
WORKER = "demo"
_START_LIMIT = 30.0
_STOP_GRACE = 10.0


def isolated_environ(folder: Path, conf: Path) -> dict[str, str]:
    """Variables for the worker and the SDK: all that they write goes under ``folder``, but for uv's package cache."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    own = {
        "HOME": folder / "home",
        "TMPDIR": folder / "tmp",
        "XDG_CACHE_HOME": folder / "home" / ".cache",
        "CLEARML_AGENT_STATE_DIR": folder / "state",
    }
    for place in own.values():
        place.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CLEARML_", "TRAINS_"))}
    return {
        **kept,
        "UV_CACHE_DIR": kept.get("UV_CACHE_DIR") or str(caches / "uv"),
        "CLEARML_CONFIG_FILE": str(conf),
        "CLEARML_AGENT__AGENT__GIT_ALLOW_LOCAL": "true",  # the demo's repository is a folder
        **{name: str(place) for name, place in own.items()},
    }


@contextlib.contextmanager
def running_worker(folder: Path, environ: Mapping[str, str], session: Session) -> Iterator[None]:
    """A daemon that has registered. When the block ends, it and all its tasks' processes are gone.

    Raises:
        Fatal: the daemon ended or did not register; the message carries its last line.
    """
    log = folder / "daemon.log"
    command = ["-m", "clearml_agent_clone", "daemon", "--foreground", "--cpu-only", "--create-queue", "--queue", QUEUE]
    try:
        with log.open("wb") as output:
            daemon = subprocess.Popen(
                [sys.executable, *command],
                env={**environ, "CLEARML_WORKER_ID": WORKER},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us: the daemon is told in its turn
            )
        try:
            _wait_registered(daemon, log, session)
            yield
        finally:
            _stop(daemon)
    finally:
        end_all(lambda: _marked(environ["CLEARML_AGENT_STATE_DIR"]), 3.0)


def _wait_registered(daemon: subprocess.Popen[bytes], log: Path, session: Session) -> None:
    deadline = time.monotonic() + _START_LIMIT
    while daemon.poll() is None and time.monotonic() < deadline:
        workers = session.call("workers.get_all")["workers"]
        if any(worker["id"] == WORKER for worker in workers):
            return
        time.sleep(0.05)
    said = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "nothing")
    what = "did not register in time" if daemon.poll() is None else f"ended with exit code {daemon.returncode}"
    raise Fatal(f"the worker {what}; it said: {said}", code="demo-worker-failed")


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    daemon.send_signal(signal.SIGTERM)
    try:
        daemon.wait(_STOP_GRACE)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _marked(state_dir: str) -> list[int]:
    """Pids of all processes that were started for this demo: they inherited the folder's name."""
    import psutil  # noqa: PLC0415 - only the end needs it

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get("CLEARML_AGENT_STATE_DIR") == state_dir and process.pid != os.getpid():
                found.append(process.pid)
    return found
