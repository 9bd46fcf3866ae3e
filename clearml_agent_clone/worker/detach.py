"""``--detached``: start the daemon in the background, and come back only when it works or has said why not."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from clearml_agent_clone.util.files import private_dir

READY_VARIABLE = "CLEARML_AGENT_READY_FD"
"""Names the descriptor on which the background daemon says that it is up."""

_LONGEST = 1 << 20
_ROOM = 4096

_PATIENCE = 10.0
"""Seconds until the command comes back, though the daemon still waits for its server."""


def start_detached(state_dir: Path, say: Callable[[str], None], argv: list[str] | None = None) -> int:
    """Start this command line again in a session of its own, without ``--detached``.

    Returns:
        0 when the daemon is registered and polls, or still waits for its server; else its exit code, after its own words
        were shown.
    """
    arguments = [part for part in (argv or sys.argv[1:]) if part != "--detached"]
    # a bare -d is "detached" only behind the command
    head = arguments.index("daemon") + 1
    arguments = arguments[:head] + [part for part in arguments[head:] if part != "-d"]
    read_end, write_end = os.pipe()
    output = _output(private_dir(private_dir(state_dir) / "logs") / f"daemon-start-{os.getpid()}.log")
    child = subprocess.Popen(
        [sys.executable, "-m", "clearml_agent_clone", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=(write_end,),
        env={**os.environ, READY_VARIABLE: str(write_end)},
    )
    os.close(write_end)
    told = bool(select.select([read_end], [], [], _PATIENCE)[0])
    ready = os.read(read_end, 16) if told else b""  # the word, or nothing when the child is gone
    os.close(read_end)
    say(os.pread(output, _LONGEST, 0).decode(errors="replace").rstrip())
    os.close(output)
    if not told:
        say(f"The daemon is not ready yet; it goes on trying in the background, pid {child.pid}")
        return 0
    if ready:
        say(f"Daemon is running in the background, pid {child.pid}")
        return 0
    return child.wait() or 1


def _output(file: Path) -> int:
    """Where the daemon's first words go: a file, or memory when the disk has no room for them."""
    try:
        output = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError:
        return os.memfd_create(file.name)
    try:
        os.posix_fallocate(output, 0, _ROOM)
        os.ftruncate(output, 0)
    except OSError:
        os.close(output)
        return os.memfd_create(file.name)
    return output
