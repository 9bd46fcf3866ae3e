"""The spool: one append-only file that holds a task's console until the end of its run.

The user's process writes stdout and stderr straight into the file, so its console outlives the runner and the
daemon. The agent's own lines and the output of its helper programs are appended to the same file. Whoever ships the
console only reads; nothing is ever lost because a reader was away.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
from pathlib import Path

from clearml_agent_clone.errors import Fatal, Retryable

log = logging.getLogger(__name__)

SPOOL_NAME = "console.spool"

_BLOCK = 1 << 20
_KEEP_SIZE, _PUNCH_HOLE = 1, 2  # of fallocate(2)

RESERVE = 8 << 20
"""Bytes of disk space that are set aside behind a spool's end."""

_HEADROOM = 1 << 20  # is left for what the agent has to write down about the run: without it no task could end


class Spool:
    """The console file of one run; implements ``util.process.Console``.

    Any number of processes may write at the same time: the file is opened with O_APPEND, so no byte overwrites
    another. Reading never moves a file position that a writer shares.

    Attributes:
        path: the file, mode 0600.
        fd: give this to the user's process as its stdout and stderr. It is not inherited by accident.
        dropped: bytes of ours that could not be written. A full disk must not end a task for the sake of its
            console, so ``say`` and ``write`` never raise; the user's process meets the full disk itself.
        given_back: all before this byte was given back by this process.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.dropped = 0
        self.given_back = 0
        self._reserved_to = 0
        self._lock = threading.Lock()

    @classmethod
    def create(cls, folder: Path) -> Spool:
        """Make the spool of a new run in ``folder``, which must exist.

        Raises:
            Fatal: there is a spool already (``spool-exists``); one run has one console.
            Retryable: the disk is full.
        """
        return cls._opened(folder / SPOOL_NAME, os.O_CREAT | os.O_EXCL)

    @classmethod
    def open(cls, folder: Path) -> Spool:
        """Open the spool of a run that has begun, to read on or to append.

        Raises:
            Fatal: there is none (``spool-missing``).
        """
        return cls._opened(folder / SPOOL_NAME, 0)

    @classmethod
    def _opened(cls, path: Path, flags: int) -> Spool:
        try:
            fd = os.open(path, flags | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            raise Fatal(f"{path} exists already", code="spool-exists") from None
        except FileNotFoundError:
            raise Fatal(f"there is no console file {path}", code="spool-missing") from None
        except OSError as error:
            raise _explain(error, path) from error
        if flags & os.O_CREAT:
            os.fchmod(fd, 0o600)  # a umask such as 0777 must not lock us out
        return cls(path, fd)

    def write(self, data: bytes) -> None:
        """Append raw output of a helper program."""
        with self._lock:
            self._append(data)

    def say(self, text: str) -> None:
        """Append a line of the agent's own, on a line of its own even when a program left its last one open.

        A program that writes at the very same moment can still get its words in between.
        """
        with self._lock:
            size = self.size()
            open_line = size > 0 and self.read(size - 1, 1) not in {b"\n", b""}
            self._append(("\n" if open_line else "").encode() + text.rstrip("\n").encode(errors="replace") + b"\n")

    def read(self, offset: int, most: int) -> bytes:
        """At most ``most`` bytes from ``offset`` on; empty at the end."""
        return os.pread(self.fd, most, offset)

    def size(self) -> int:
        """How many bytes were written so far."""
        return os.fstat(self.fd).st_size

    def give_back(self, end: int) -> None:
        """Free the disk space of the bytes before ``end``, where the file system can; offsets stay as they are."""
        end -= end % _BLOCK
        if end > self.given_back and self.punch(self.given_back, end):
            self.given_back = end

    def punch(self, begin: int, end: int) -> bool:
        """Free the disk space of the bytes between, which read as zeros from now on; False where that cannot be."""
        return not _fallocate(self.fd, _KEEP_SIZE | _PUNCH_HOLE, begin, end - begin)

    def reserve(self) -> bool:
        """Set disk space aside behind the end: a task that writes into it never sees a full disk.

        Returns False when the disk has no room for it.
        """
        size = self.size()
        if size + RESERVE // 2 <= self._reserved_to:
            return True
        if self._free() < RESERVE + _HEADROOM:
            return False  # not by trying: some file systems keep what they could give of it
        failed = _fallocate(self.fd, _KEEP_SIZE, size, RESERVE)
        if failed in {errno.ENOSPC, errno.EDQUOT}:
            return False
        self._reserved_to = size + RESERVE  # also where the file system has no such thing: it is not asked each time
        return True

    def _free(self) -> int:
        found = os.fstatvfs(self.fd)
        return found.f_bavail * found.f_frsize

    def first(self) -> int:
        """The first byte that was not given back."""
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)  # the position of ours is shared with the user's process
        try:
            return os.lseek(fd, 0, os.SEEK_DATA)
        except OSError:  # an empty file, or one of which nothing is left
            return self.size()
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close our descriptor; what other processes hold stays open. Safe to call twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self.fd, rest) :]
        except OSError as error:
            if not self.dropped:
                log.warning("%s", _explain(error, self.path))
            self.dropped += len(rest)


def _fallocate(fd: int, mode: int, begin: int, length: int) -> int:
    """fallocate(2), which Python lacks the modes of; the error number, or 0."""
    import ctypes  # noqa: PLC0415 - 2 ms that the start of a command does not need

    fallocate = ctypes.CDLL(None, use_errno=True).fallocate
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return 0 if fallocate(fd, mode, begin, length) == 0 else ctypes.get_errno()


def _explain(error: OSError, path: Path) -> Fatal | Retryable:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Retryable(f"no space left for {path}", remedy="Free some disk space", code="disk-full")
    return Fatal(f"cannot write {path}: {error.strerror or error}", code="not-writable")
