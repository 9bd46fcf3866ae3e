"""The daemon's own log: one line per event, rotated, private, without secrets."""

from __future__ import annotations

import logging
import logging.handlers
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from clearml_agent_clone.logs.redact import Redactor
from clearml_agent_clone.util.files import private_dir

LARGEST_FILE = 10 * 1024 * 1024
OLD_FILES = 5
FORMAT = "%(asctime)s %(levelname)-7s %(component)s %(message)s"

_PACKAGE = "clearml_agent_clone"
_OURS = "_clearml_agent_clone_handler"


def configure(log_file: Path | None, debug: bool, redactor: Redactor) -> None:
    """Send the agent's log records to ``log_file``, or to stderr when it is None.

    Calling it again replaces what was set up before (after a change of configuration, or in a child process). Other
    libraries log warnings and errors only, unless ``debug``.

    Args:
        log_file: mode 0600; five older files of 10 MiB are kept beside it as ``.1`` to ``.5``.
        debug: also records of level DEBUG.
        redactor: what every line passes, tracebacks included.

    Raises:
        UserError: the folder cannot be made.
    """
    handler: logging.Handler
    if log_file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        private_dir(log_file.parent)
        handler = _PrivateRotatingFileHandler(
            log_file, maxBytes=LARGEST_FILE, backupCount=OLD_FILES, encoding="utf-8", errors="backslashreplace"
        )
    handler.setFormatter(_SafeFormatter(redactor))
    setattr(handler, _OURS, True)
    root = logging.getLogger()
    for old in [known for known in root.handlers if hasattr(known, _OURS)]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if debug else logging.WARNING)
    logging.getLogger(_PACKAGE).setLevel(logging.DEBUG if debug else logging.INFO)


class _SafeFormatter(logging.Formatter):
    """One line per record, redacted as a whole: the message, its arguments, the traceback."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(FORMAT)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        # "clearml_agent_clone.worker.claim" is known by "worker.claim"; a message of several lines stays one record.
        record.component = record.name.removeprefix(f"{_PACKAGE}.")
        return self._redactor.redact(super().format(record)).replace("\n", "\n    ")


class _PrivateRotatingFileHandler(logging.handlers.RotatingFileHandler):
    """Its files are private from their first byte on, whatever the umask."""

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        return os.fdopen(fd, "a", encoding=self.encoding, errors=self.errors)
