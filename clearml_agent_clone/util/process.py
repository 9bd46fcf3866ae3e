"""Start helper programs (git, uv, pip): argument lists only, cancellable, output passed on as it comes.

The user's own process is not started here; that is ``launch``'s duty.
"""

from __future__ import annotations

import os
import selectors
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from clearml_agent_clone.errors import Cancelled, UserError

Cancel = threading.Event
"""Set by whoever wants the work given up; every helper program is then ended and ``Cancelled`` raised."""

_KEPT_OUTPUT = 64 * 1024
_LOOK_EVERY = 0.1
_GRACE = 3.0


class Console(Protocol):
    """Where a task's console goes. Both methods may be called from any thread."""

    def say(self, text: str) -> None:
        """Add a line of the agent's own."""

    def write(self, data: bytes) -> None:
        """Add raw output of a helper program."""


@attrs.frozen
class Finished:
    """What came of a helper program.

    ``output`` holds the last 64 KiB of stdout (and of stderr, unless it was kept apart), ``errors`` those of a
    separate stderr.
    """

    argv: tuple[str, ...]
    exit_code: int
    output: str
    errors: str = ""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0

    @property
    def last_line(self) -> str:
        """The last line that is not blank: most programs put the reason there."""
        text = self.errors or self.output
        return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def printable(argv: Sequence[str]) -> str:
    """``argv`` as a person would type it. Redaction is the console's business."""
    return shlex.join(argv)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    console: Console | None = None,
    cancel: Cancel | None = None,
    timeout: float | None = None,
    separate_errors: bool = False,
) -> Finished:
    """Run a helper program to its end in a process group of its own.

    Args:
        argv: program and arguments; never a shell string.
        cwd: working directory.
        env: the whole environment; None inherits ours.
        stdin: bytes to feed; None gives an empty stdin, so that nothing ever waits for a keyboard.
        console: gets output as it comes; with ``separate_errors`` only stderr.
        cancel: when set, the program's group gets SIGTERM, after three seconds SIGKILL.
        timeout: seconds until the program is ended like a cancelled one; the result then has exit code 124.
        separate_errors: keep stderr apart instead of mixing it into ``output``.

    Raises:
        Cancelled: ``cancel`` was set; the program is gone.
        UserError: the program does not exist or may not be run.
    """
    arguments = [os.fspath(argument) for argument in argv]
    child = _start(arguments, cwd, env, feed=stdin is not None, separate_errors=separate_errors)
    feeder = None
    if stdin is not None:
        feeder = threading.Thread(target=_feed, args=(child, stdin), daemon=True)
        feeder.start()
    try:
        output, errors, timed_out = _pump(child, console, cancel, timeout)
    except BaseException:  # whatever ended us (Ctrl-C too), the program must not outlive the call
        end_group(child)
        raise
    finally:
        for stream in (child.stdout, child.stderr):
            if stream is not None:
                stream.close()
        if feeder is not None:
            feeder.join()
    code = 124 if timed_out else child.wait()
    return Finished(
        tuple(arguments), code, output.decode(errors="replace"), errors.decode(errors="replace") if errors else ""
    )


def _start(
    arguments: list[str], cwd: Path | None, env: Mapping[str, str] | None, *, feed: bool, separate_errors: bool
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            arguments,
            cwd=cwd,
            env=env,
            stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if separate_errors else subprocess.STDOUT,
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(
            f'cannot start "{arguments[0]}": {error.strerror}',
            remedy="Install it, or put it on PATH",
            code="program-missing",
        ) from error


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End ``child`` and its process group: SIGTERM, three seconds, SIGKILL."""
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        try:
            os.killpg(child.pid, number)
        except (ProcessLookupError, PermissionError):
            break
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def _feed(child: subprocess.Popen[bytes], data: bytes) -> None:
    assert child.stdin is not None
    try:
        child.stdin.write(data)
        child.stdin.close()
    except BrokenPipeError:
        pass  # the program did not want all of it; its exit code tells what it made of that


def _pump(
    child: subprocess.Popen[bytes], console: Console | None, cancel: Cancel | None, timeout: float | None
) -> tuple[bytes, bytes, bool]:
    kept = {"out": bytearray(), "err": bytearray()}
    deadline = None if timeout is None else time.monotonic() + timeout
    with selectors.DefaultSelector() as selector:
        for name, stream in (("out", child.stdout), ("err", child.stderr)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, name)
        shown = "err" if child.stderr is not None else "out"
        while selector.get_map():
            ready = selector.select(_LOOK_EVERY)
            if not ready and child.poll() is not None:
                break  # it left a process behind that still holds the pipe; what it had to say, it has said
            for key, _ in ready:
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                if console is not None and key.data == shown:
                    console.write(data)
                buffer = kept[key.data]
                buffer += data
                del buffer[:-_KEPT_OUTPUT]
            if cancel is not None and cancel.is_set():
                end_group(child)
                raise Cancelled
            if deadline is not None and time.monotonic() > deadline:
                end_group(child)
                return bytes(kept["out"]), bytes(kept["err"]), True
    return bytes(kept["out"]), bytes(kept["err"]), False
