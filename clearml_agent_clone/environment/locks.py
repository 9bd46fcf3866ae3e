"""Locks between processes of this machine. The kernel drops them when their holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from clearml_agent_clone.errors import Cancelled, UserError
from clearml_agent_clone.util.process import Cancel

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.1


@attrs.define(eq=False)
class FileLock:
    """A lock on a file: many may share it, or one has it alone.

    The file may be removed by whoever has it alone, so a lock counts only while its file is still in place. The
    descriptor is not passed on to child processes. A file that we may only read can be shared, but not had alone.
    """

    path: Path
    _handle: int = -1

    def take(self, *, alone: bool) -> bool:
        """Try to get the lock, at once; also changes from one kind to the other. False leaves nothing held.

        Raises:
            FileNotFoundError: the folder of the file is gone.
            UserError: code ``no-locks``; files there cannot be locked or written.
        """
        while True:
            try:
                if self._handle < 0:
                    self._open()
                if alone and self.read_only:
                    self.release()
                    return False
                fcntl.flock(self._handle, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            except (BlockingIOError, FileNotFoundError) as error:
                self.release()
                if isinstance(error, FileNotFoundError):
                    raise
                return False
            except OSError as error:
                self.release()
                raise UserError(
                    f"cannot lock {self.path}: {error.strerror}",
                    remedy="Put agent.venvs_cache.path on a file system that this user can write and that has locks",
                    code="no-locks",
                ) from error
            if self._in_place():
                return True
            self.release()

    def wait(self, *, alone: bool, cancel: Cancel | None = None, give_up: Callable[[], bool] = lambda: False) -> bool:
        """Get the lock, however long that takes; False when ``give_up`` was true before it was free.

        Raises:
            Cancelled: ``cancel`` was set.
        """
        pause = _FIRST_PAUSE
        while not self.take(alone=alone):
            if give_up():
                return False
            if cancel is None:
                time.sleep(pause)
            elif cancel.wait(pause):
                raise Cancelled
            pause = min(pause * 2, _LONGEST_PAUSE)
        return True

    def release(self) -> None:
        """Let go. Safe to repeat."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def fileno(self) -> int:
        """The descriptor that holds the lock; -1 when nothing does."""
        return self._handle

    @property
    def held(self) -> bool:
        return self._handle >= 0

    @property
    def read_only(self) -> bool:
        """Whether we may not write the file, because of its mode or its file system."""
        return self._handle >= 0 and fcntl.fcntl(self._handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY

    def read(self) -> bytes:
        """What stands in the file (256 bytes at most)."""
        return os.pread(self._handle, 256, 0)

    def write(self, data: bytes) -> None:
        """Replace what stands in the file; its time stamp becomes now."""
        os.pwrite(self._handle, data, 0)
        os.ftruncate(self._handle, len(data))

    def touch(self) -> None:
        """Make the file's time stamp now."""
        if self._handle >= 0:
            os.utime(self._handle)

    def _open(self) -> None:
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in {errno.EROFS, errno.EACCES}:
                raise
            try:
                self._handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                raise error from None

    def _in_place(self) -> bool:
        try:
            there = os.stat(self.path)  # noqa: PTH116 - on the path of every task start
        except FileNotFoundError:
            return False
        mine = os.fstat(self._handle)
        return (there.st_ino, there.st_dev) == (mine.st_ino, mine.st_dev)
