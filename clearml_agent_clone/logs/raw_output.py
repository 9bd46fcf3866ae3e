"""What a detached daemon prints past its log: a crash in C, the interpreter's own last words, a library's print."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
from pathlib import Path

from clearml_agent_clone.logs.log_file import open_private

log = logging.getLogger(__name__)

LARGEST = 1024 * 1024
_KEPT = 256 * 1024


def keep_raw_output(file: Path) -> None:
    """Send our stdout and stderr to ``file`` (0600) from now on, and a stack of every thread when Python crashes.

    What an earlier daemon left there is moved to ``.1`` and told in the log.
    """
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_size:
            log.warning('the last agent printed outside its log, at the end "%s"; see %s.1', _last_line(file), file)
            file.replace(file.with_name(f"{file.name}.1"))
    fd = open_private(file)
    sys.stdout.flush()
    sys.stderr.flush()
    for target in (1, 2):
        os.dup2(fd, target)
    os.close(fd)
    faulthandler.enable(2)


def bound_raw_output(file: Path) -> None:
    """Move what has become too long in ``file`` to ``.1``, of which the end is kept. Whoever writes may go on."""
    try:
        fd = os.open(file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # there is none
        return
    try:
        size = os.fstat(fd).st_size
        if size <= LARGEST:
            return
        kept = open_private(file.with_name(f"{file.name}.1"))
        try:
            os.ftruncate(kept, 0)
            os.write(kept, os.pread(fd, _KEPT, size - _KEPT))
        finally:
            os.close(kept)
        os.ftruncate(fd, 0)  # writers append, so they go on at the new end
    finally:
        os.close(fd)


def _last_line(file: Path) -> str:
    with file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - 4096))
        lines = opened.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
